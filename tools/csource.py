# SPDX-License-Identifier: MIT
"""
A C source as tokens, functions and statements: as much as a tool needs that changes or weighs one.

It knows the C of this tree and no more: no nested functions, no digraphs, no statement hidden in a
macro.  Comments and preprocessor lines hold no tokens; what a macro's definition spans is kept
apart, in `defines`.
"""

import bisect
import re

TOKEN = re.compile(r"""
    (?P<skip>\s+|/\*.*?\*/|//[^\n]*)
  | (?P<string>L?"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<mark><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=
             |[-+*/%&|^~!<>=?:;,.(){}\[\]\#])
""", re.X | re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*$", re.M | re.S)
DEFINE = re.compile(r"\s*#\s*define\s+(\w+)")
PAIRS = {"(": ")", "[": "]", "{": "}"}
TYPES = {"struct", "enum", "union", "const", "static", "unsigned", "signed", "typedef", "extern",
         "_Static_assert", "register", "volatile"}
CONTROL = {"return", "goto", "break", "continue"}


class Token:
    __slots__ = ("kind", "text", "start", "end")

    def __init__(self, kind, text, start):
        self.kind, self.text, self.start, self.end = kind, text, start, start + len(text)


class Statement:
    """kind: block, if, while, for, switch, do, label, declaration, return, ..., or expression.

    Tokens first..last (last inclusive); head: the tokens inside the parentheses of if and so on;
    body: the statements inside; other: the statement after else.
    """

    def __init__(self, kind, first):
        self.kind, self.first, self.last = kind, first, first
        self.head, self.body, self.other = None, [], None

    def walk(self):
        yield self
        for part in self.body + ([self.other] if self.other else []):
            yield from part.walk()


class Function:
    def __init__(self, name, head, first, last):
        self.name, self.head, self.first, self.last = name, head, first, last


class Source:
    def __init__(self, text):
        self.text = text
        self.lines = [0] + [m.end() for m in re.finditer("\n", text)]
        self.defines = []
        self.tokens = list(self._tokens())
        self.match = self._brackets()
        self.functions = list(self._functions())

    def _tokens(self):
        hidden = []
        for line in DIRECTIVE.finditer(self.text):
            hidden.append(line.span())
            name = DEFINE.match(line.group())
            if name:
                self.defines.append((name.group(1), *line.span()))
        starts, at = dict(hidden), 0
        while at < len(self.text):
            if at in starts:
                at = starts[at]
                continue
            found = TOKEN.match(self.text, at)
            if not found:
                raise SyntaxError(f"line {self.position(at)[0]}: {self.text[at:at + 20]!r}")
            kind = found.lastgroup
            # White space ends where a directive starts, which is at the start of a line.
            inside = []
            if kind != "skip":
                yield Token(kind, found.group(), at)
            elif found.group().isspace():
                inside = [start for start in starts if at < start < found.end()]
            at = min(inside, default=found.end())

    def _brackets(self):
        match, stack = {}, []
        for i, token in enumerate(self.tokens):
            if token.kind != "mark":
                continue
            if token.text in PAIRS:
                stack.append(i)
            elif token.text in PAIRS.values():
                match[i] = stack.pop()
                match[match[i]] = i
        return match

    def _functions(self):
        i = 0
        while i < len(self.tokens):
            text = self.tokens[i].text
            if text == "{" and i > 0 and self.tokens[i - 1].text == ")":
                head = self.match[i - 1] - 1
                yield Function(self.tokens[head].text, head, i, self.match[i])
            i = self.match[i] + 1 if text in PAIRS else i + 1

    def position(self, offset):
        """Line and column of an offset, both from 1."""
        line = bisect.bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def offset(self, line, column):
        return self.lines[line - 1] + column - 1

    def function_at(self, offset):
        for function in self.functions:
            if self.tokens[function.head].start <= offset <= self.tokens[function.last].end:
                return function
        return None

    def span_text(self, first, last):
        """The text of tokens first..last, white space and comments as one blank."""
        text = self.text[self.tokens[first].start:self.tokens[last].end]
        return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", " ", text, flags=re.S))

    def calls(self, names):
        """(first, last) of every NAME(...) in code with a name of `names`."""
        for i, token in enumerate(self.tokens[:-1]):
            if token.text in names and self.tokens[i + 1].text == "(":
                yield i, self.match[i + 1]

    def statements(self, function):
        """The body of a function, as one block."""
        return self._statement(function.first)

    def parts(self, first, last, mark):
        """Tokens first..last cut at each `mark` that stands in no bracket: (first, last) pairs."""
        found, start, i = [], first, first
        while i <= last:
            if self.tokens[i].text == mark:
                found.append((start, i - 1))
                start = i + 1
            i = self.match[i] + 1 if self.tokens[i].text in PAIRS else i + 1
        return found + [(start, last)]

    def canary_only(self, function):
        """(first, last) of what matters only if a deliberate bug is switched on.

        The other conditions of a conjunction with a canary; the statement that hangs on such a
        condition; and A of `QI_CANARY(..) ? A : B`.
        """
        for first, last in self.calls({"QI_CANARY"}):
            if not function.first < first < function.last:
                continue
            if self.tokens[last + 1].text == "?":
                yield first, self._find(last + 1, ":")
            group = self._group(first)
            if group and self._conjunct(*group, first):
                yield group
        for statement in self.statements(function).walk():
            if statement.kind == "if" and any(self._conjunct(*statement.head, first)
                                              for first, _ in self.calls({"QI_CANARY"})):
                yield statement.body[0].first, statement.body[0].last

    def _find(self, i, text):
        while self.tokens[i].text != text:
            i = self.match[i] + 1 if self.tokens[i].text in PAIRS else i + 1
        return i

    def _group(self, i):
        """The tokens within the innermost parentheses around token i."""
        while i > 0:
            i -= 1
            if self.tokens[i].text in PAIRS.values():
                i = self.match[i]
            elif self.tokens[i].text == "(":
                return i + 1, self.match[i] - 1
            elif self.tokens[i].text in ("{", "["):
                return None
        return None

    def _conjunct(self, first, last, canary):
        """Must the canary, as it stands, hold for first..last to hold?"""
        if not first <= canary <= last or any(self.parts(first, last, mark) != [(first, last)]
                                              for mark in ("||", "?")):
            return False
        return canary in [start for start, _ in self.parts(first, last, "&&")]

    def _statement(self, i):
        text = self.tokens[i].text
        statement = Statement(text, i)
        if text == "{":
            statement.kind, at = "block", i + 1
            while at < self.match[i]:
                statement.body.append(self._statement(at))
                at = statement.body[-1].last + 1
            statement.last = self.match[i]
        elif text in ("if", "while", "for", "switch"):
            statement.head = (i + 2, self.match[i + 1] - 1)
            statement.body = [self._statement(self.match[i + 1] + 1)]
            statement.last = statement.body[0].last
            if text == "if" and self.tokens[statement.last + 1].text == "else":
                statement.other = self._statement(statement.last + 2)
                statement.last = statement.other.last
        elif text == "do":
            statement.body = [self._statement(i + 1)]
            head = statement.body[0].last + 2
            statement.head = (head + 1, self.match[head] - 1)
            statement.last = self.match[head] + 1
        elif text in ("case", "default") or self._is_label(i):
            statement.kind = "label"
            while self.tokens[statement.last].text != ":":
                statement.last += 1
        else:
            statement.kind = text if text in CONTROL else self._plain_kind(i)
            while self.tokens[statement.last].text != ";":
                last = statement.last
                statement.last = self.match[last] + 1 if self.tokens[last].text in PAIRS \
                    else last + 1
        return statement

    def _is_label(self, i):
        return self.tokens[i].kind == "name" and self.tokens[i + 1].text == ":"

    def _plain_kind(self, i):
        kinds = [token.kind for token in self.tokens[i:i + 3]]
        if self.tokens[i].text in TYPES or kinds[:2] == ["name", "name"]:
            return "declaration"
        if kinds == ["name", "mark", "name"] and self.tokens[i + 1].text == "*":
            return "declaration"
        return "expression"
