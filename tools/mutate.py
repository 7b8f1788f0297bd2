#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
mutate.py BUILD [--count N] [--seconds S] [--seed K]: do the tests notice when core/ is wrong?

A *mutant* is core/ with one small change.  Each is compiled (only the file that changed), linked
into a library that the tests of the micro geometry load, and run against them, first those that
are quick or have killed many; what they let live is tried in the real geometry.  A mutant is killed
by the first test that fails, crashes or does not end.  One that compiles to the same object code is
no mutant.

Operators of the field: drop_lock (where it is taken and where it is let go), weaken_lock,
drop_flush, drop_count, drop_release, swap_publish (publish before the flush), skip_recheck (after a
lock), lose_dirty.  Generic ones: relation, arithmetic,
logic, negate, constant, delete.  Assertions and canaries are left alone.

The sample is all mutants of the field, then generic ones until there are N (0: all), in an order
that a hash of each mutant's own text and K gives, so that a change elsewhere does not change it.
docs/mutants.md explains survivors; an entry that says "equivalent" takes its mutant out of the
count, and out of the sample.  Fails if a survivor is not explained, or if fewer than 95 % are
killed.

    --files FILE,...    the mutants of these files
    --only FILE:LINE    the mutants of one line (--list: print them and stop)
    --changed REV       before all others those of functions that changed since REV
    --headers           mutate the headers of core/ too
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from csource import Source

TOOLS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TOOLS)
LIST = os.path.join(ROOT, "docs", "mutants.md")
GOAL = 95
FLOOR = 88  # what fails the run, until the goal is reached
LEAST = 40  # mutants that must be tried for the figure to say something
MEMORY_LIMIT = 2 << 30
LISTED = re.compile(r"- `([^`]+?): (\w+)` `(.+?)` (\w+): (.+)")

# The area of a test program, and how it is run to kill mutants: quick ones first.
KILLERS = {
    "unit": [],
    "model": ["--ops", "40000"],
    "inject": ["--random", "20"],
    "schedule": ["--random", "1000000000", "--pct", "1000000000", "--seconds", "1"],
    "search": ["--depth", "4", "--seconds", "1"],
}
GEOMETRIES = ("micro", "real")

UNTOUCHED = {"qi_assert", "qi_check", "host_panic", "QI_CANARY", "QI_FAIL", "QI_TOUCH",
             "QI_TOUCH_ALL", "sizeof", "_Static_assert"}
SWAPS = {
    "relation": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "arithmetic": {"+": "-", "-": "+", "+=": "-=", "-=": "+=", "++": "--", "--": "++", "<<": ">>",
                   ">>": "<<", "&": "|", "|": "&", "|=": "&=", "&=": "|=", "*": "+", "/": "*"},
    "logic": {"&&": "||", "||": "&&"},
    "constant": {"true": "false", "false": "true"},
}
# Of these, the ones that are also unary: with a value before them they are not.
BINARY = {"+", "-", "&", "*"}
LOCK_PAIRS = {"lock_take": "lock_drop"}  # others are NAME_lock and NAME_unlock
WEAKER = {"qi_enter_exclusive": "qi_enter_shared({})", "qi_enter_shared": "qi_enter(({})->q)"}
LOCK_CALL = re.compile(r"lock_take|lock_drop|\w+_(un)?lock|wait_for_\w+|qi_(claim|leave|stop|go)\w*"
                       r"|entry_wait\w*")
LOCK_TAKEN = re.compile(r"lock_take|\w+_lock|qi_enter\w*|qi_claim|host_wait|wait_for_\w+")
FLUSH_CALL = re.compile(r"\w*flush\w*")
RELEASE_CALL = re.compile(r"\w*(release|free|give|unpin|settle|retire|drop|put|unmap)\w*")
PUBLISH_CALL = re.compile(r"entry_(store|swap|change)|\w*(publish|settle)\w*")
LEAVES = ("return", "goto", "break", "continue")
FIELD = ("drop_lock", "weaken_lock", "drop_flush", "drop_count", "drop_release", "swap_publish",
         "skip_recheck", "lose_dirty")


class Mutant:
    """The text of `file` with each (start, end) of `edits` replaced by its new text, in order."""

    def __init__(self, file, source, edits, operator):
        self.file, self.source, self.operator, self.edits = file, source, operator, edits
        start, _, self.new = edits[0]
        self.line, self.column = source.position(start)
        self.function = source.function_at(start).name
        self.text = self._line_of(start)
        self.killer = None

    def _line_of(self, offset):
        begin = self.source.text.rfind("\n", 0, offset) + 1
        return self.source.text[begin:self.source.text.find("\n", offset)].strip()

    def mutated(self):
        text, parts, at = self.source.text, [], 0
        for start, end, new in self.edits:
            parts += [text[at:start], new]
            at = end
        return "".join(parts) + text[at:]

    def key(self):
        return (self.file, self.function, self.text, self.operator)

    def rank(self, seed):
        words = f"{seed} {self.key()} {self.new} {self.column}"
        return hashlib.sha256(words.encode()).digest()

    def diff(self):
        old, new = self.source.text.splitlines(), self.mutated().splitlines()
        return "\n".join(line for line in difflib.unified_diff(old, new, self.file, self.file,
                                                               n=1, lineterm=""))


# ---- making mutants --------------------------------------------------------------------------


class Maker:
    """All mutants of one file."""

    def __init__(self, file):
        with open(os.path.join(ROOT, file), encoding="utf-8") as text:
            self.source = Source(text.read())
        self.file, self.mutants, self.seen = file, [], set()
        self.paired = set()  # statements that go only with others
        tokens = self.source.tokens
        self.untouched = list(self.source.calls(UNTOUCHED))
        for function in self.source.functions:
            self.untouched += self.source.canary_only(function)
            body = self.source.statements(function)
            statements = list(body.walk())
            statements = [part for part in statements if not self._is_untouched(part.first)]
            for statement in statements:
                self._drop_pair(statement, statements)
            for statement in statements:
                self._field(statement)
            for statement in statements:
                self._generic_statement(statement)
            for i in range(function.first, function.last):
                if not self._is_untouched(i):
                    self._token(i, tokens[i])

    def _is_untouched(self, i):
        return any(first <= i <= last for first, last in self.untouched)

    def _add(self, first, last, new, operator, *others):
        """Replace tokens first..last, and keep the lines that they took; others are the same."""
        tokens, source, edits = self.source.tokens, self.source, []
        for low, high, text in ((first, last, new), *others):
            start, end = tokens[low].start, tokens[high].end
            lost = source.text.count("\n", start, end) - text.count("\n")
            edits.append((start, end, text + "\n" * lost))
        edits = tuple(sorted(edits))
        if edits not in self.seen:
            self.seen.add(edits)
            self.mutants.append(Mutant(self.file, source, edits, operator))

    def _calls(self, statement, pattern):
        """Does the statement, whatever it is, call something of that name?"""
        tokens = self.source.tokens
        return any(tokens[i].kind == "name" and tokens[i + 1].text == "(" and
                   pattern.fullmatch(tokens[i].text)
                   for i in range(statement.first, statement.last))

    def _called(self, statement):
        """The name that a statement calls, which does nothing else."""
        tokens = self.source.tokens
        first = statement.first
        if tokens[first].text == "(" and tokens[first + 1].text == "void":
            first += 3
        if statement.kind == "expression" and tokens[first + 1].text == "(" and \
                self.source.match[first + 1] + 1 == statement.last:
            return tokens[first].text
        return None

    def _arguments(self, statement):
        text = self.source.span_text(statement.first, statement.last)
        return text[text.index("("):]

    def _drop_pair(self, take, statements):
        """A lock that is taken and let go in one function is neither."""
        name = self._called(take)
        rhyme = LOCK_PAIRS.get(name, name[:-len("lock")] + "unlock"
                               if name and name.endswith("_lock") else None)
        drops = [drop for drop in statements if rhyme and self._called(drop) == rhyme and
                 self._arguments(drop) == self._arguments(take)]
        if drops:
            self._add(take.first, take.last, ";", "drop_lock",
                      *((drop.first, drop.last, ";") for drop in drops))
            self.paired.update(part.first for part in (take, *drops))

    def _field(self, statement):
        name = self._called(statement)
        if name in UNTOUCHED:
            return
        for operator, pattern in (("drop_lock", LOCK_CALL), ("drop_flush", FLUSH_CALL),
                                  ("drop_release", RELEASE_CALL)):
            if name and pattern.fullmatch(name) and statement.first not in self.paired:
                self._add(statement.first, statement.last, ";", operator)
        if statement.kind == "expression" and self._is_count(statement, name):
            self._add(statement.first, statement.last, ";", "drop_count")
        if statement.kind == "block":
            self._swap_publish(statement.body)
            self._skip_recheck(statement.body)
        if name == "entry_mark":
            self._add(statement.first, statement.last, ";", "lose_dirty")

    def _is_count(self, statement, name):
        text = self.source.span_text(statement.first, statement.last)
        if "stats" in text:
            return False
        return name == "qi_add" or bool(re.fullmatch(
            r"(--|\+\+)?[^=()]*(->|\.|\])[^=]*(\+\+|--|[-+]= .*);", text, re.S) or
            re.fullmatch(r"(--|\+\+).*(->|\.).*;", text))

    def _swap_publish(self, body):
        for i, early in enumerate(body):
            for late in body[i + 1:i + 4]:
                flush = self._calls(early, FLUSH_CALL)
                if flush == self._calls(late, FLUSH_CALL):
                    continue
                if self._calls(late if flush else early, PUBLISH_CALL) and \
                        "declaration" not in (early.kind, late.kind):
                    self._swap(early, late)

    def _swap(self, early, late):
        tokens, text = self.source.tokens, self.source.text
        a, b = tokens[early.first].start, tokens[early.last].end
        c, d = tokens[late.first].start, tokens[late.last].end
        self._add(early.first, late.last, text[c:d] + text[b:c] + text[a:b], "swap_publish")

    def _skip_recheck(self, body):
        """After a lock was taken: the next conditions that leave, or lead to another way."""
        left = 0
        for statement in body:
            if statement.kind in ("if", "while") and left > 0:
                first, last = statement.head
                text = self.source.span_text(first, last)
                self._add(first, last, f"false && ({text})", "skip_recheck")
                left -= 1
            elif statement.kind in ("expression", "declaration") and \
                    self._calls(statement, LOCK_TAKEN):
                left = 2

    def _generic_statement(self, statement):
        tokens = self.source.tokens
        if statement.kind in ("if", "while", "do"):
            first, last = statement.head
            if not any(self._is_untouched(i) for i in range(first, last + 1)):
                self._add(first, last, f"!({self.source.span_text(first, last)})", "negate")
        if statement.kind == "expression" and statement.first != statement.last and \
                statement.first not in self.paired and \
                self._called(statement) not in UNTOUCHED | {"va_start", "va_end"} and \
                tokens[statement.first + 1].text != ")":
            self._add(statement.first, statement.last, ";", "delete")

    def _token(self, i, token):
        tokens = self.source.tokens
        before = tokens[i - 1]
        has_value = before.kind in ("name", "number") or before.text in (")", "]")
        if token.text in ("*", "&") and self.source.text[token.end:token.end + 1] != " ":
            return  # a pointer, however it is meant
        if token.text in BINARY and (not has_value or before.text in LEAVES + ("case",)):
            return
        for operator, swaps in SWAPS.items():
            if token.text in swaps:
                self._add(i, i, swaps[token.text], operator)
        if token.kind == "number" and before.text != "[":
            value = int(re.sub(r"[uUlL]+$", "", token.text), 0)
            suffix = token.text[len(re.sub(r"[uUlL]+$", "", token.text)):]
            self._add(i, i, f"{value + 1}{suffix}", "constant")
        if token.text in WEAKER and tokens[i + 1].text == "(":
            last = self.source.match[i + 1]
            inside = self.source.span_text(i + 2, last - 1)
            self._add(i, last, WEAKER[token.text].format(inside), "weaken_lock")
        if token.text in ("ENTRY_DIRTY", "ENTRY_FOLDED"):
            self._add(i, i, "0", "lose_dirty")
        if token.text == "entry_fold" and tokens[i + 1].text == "(":
            last = self.source.match[i + 1]
            inside = self.source.span_text(i + 2, last - 1)
            self._add(i, last, f"(({inside}) & ~(ENTRY_WRITE | ENTRY_DIRTY))", "lose_dirty")


def changed_functions(revision):
    """(file, function) of everything in core/ that differs from a revision."""
    diff = subprocess.run(["git", "diff", "-U0", revision, "--", "core"], cwd=ROOT,
                          capture_output=True, text=True, check=True).stdout
    found, file = set(), None
    for line in diff.splitlines():
        if line.startswith("+++ "):
            file = line[6:] if line.startswith("+++ b/") else None
            if file:
                with open(os.path.join(ROOT, file), encoding="utf-8") as text:
                    source = Source(text.read())
        hunk = re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line)
        for at in range(int(hunk[1]), int(hunk[1]) + int(hunk[2] or 1)) if hunk and file else ():
            function = source.function_at(source.lines[min(at, len(source.lines)) - 1])
            if function:
                found.add((file, function.name))
    return found


def sample(mutants, options):
    """Which to run, in order."""
    reasons = explained()
    if options.count:
        mutants = [m for m in mutants if not reasons.get(m.key(), "").startswith("equivalent")]

    def order(m):
        return m.rank(options.seed)

    changed = changed_functions(options.changed) if options.changed else ()
    first = [m for m in mutants if (m.file, m.function) in changed]
    field = sorted((m for m in mutants if m not in first and m.operator in FIELD), key=order)
    rest = sorted((m for m in mutants if m not in first and m.operator not in FIELD), key=order)
    chosen = first + field + rest
    return chosen[:max(options.count, len(first))] if options.count else chosen


# ---- building and killing --------------------------------------------------------------------


class Killer:
    """A test program: what it takes, and how many mutants it has killed."""

    def __init__(self, seconds, command):
        self.seconds, self.command, self.kills = seconds, command, 0

    def cost(self):
        return self.seconds / (1 + self.kills)


class Geometry:
    """The objects of core and its machine, and the programs that run against them."""

    def __init__(self, build, folder, variant):
        self.folder = os.path.join(folder, variant)
        self.variant, self.commands, self.objects, self.killers = variant, {}, {}, []
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
            for entry in json.load(file):
                if f"CMakeFiles/{variant}.dir/" in entry["command"]:
                    name = os.path.relpath(entry["file"], ROOT)
                    self.commands[name] = self._compiler(shlex.split(entry["command"]))
        for name in self.commands:
            source = os.path.join(ROOT, name)
            self.objects[name] = self._object(self.folder, name)
            with open(source, encoding="utf-8") as file:
                if not self.compile(name, file.read(), self.folder):
                    sys.exit(f"mutate: {name} does not compile")
        self.link(self.folder, self.objects)
        self._link_killers(build)

    @staticmethod
    def _compiler(words):
        words = words[:words.index("-o")]
        keep = [word for word in words if word not in ("-g", "-Werror")]
        return keep + ["-g0", "-w", "-fPIC", "-fno-semantic-interposition"]

    @staticmethod
    def _object(folder, name):
        return os.path.join(folder, name.replace("/", "_")[:-2] + ".o")

    def compile(self, name, text, folder, include=None):
        """One file with that text; true if it compiles.  The file's name stays what it is."""
        path = os.path.join(folder, os.path.basename(name))
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'#line 1 "{name}"\n{text}')
        command = list(self.commands[name])
        if include:
            command[1:1] = ["-I", include]
        done = subprocess.run(command + ["-I", os.path.join(ROOT, os.path.dirname(name)), "-o",
                                         self._object(folder, name), "-c", path],
                              capture_output=True, check=False)
        return done.returncode == 0

    def link(self, folder, objects):
        subprocess.run(["cc", "-shared", "-Wl,-soname,libcore.so", "-o",
                        os.path.join(folder, "libcore.so"), *objects.values()], check=True)

    def _link_killers(self, build):
        listing = subprocess.run(["cmake", "--build", build, "--target", "help"],
                                 capture_output=True, text=True, check=True).stdout
        for name in sorted(set(re.findall(r"\btest_\w+", listing))):
            area = re.fullmatch(rf"test_([a-z]+)_\w+_{self.variant}", name)
            if name == "test_schedule" and self.variant == "micro":
                area = re.fullmatch(r"test_(\w+)", name)
            if not area or area[1] not in KILLERS:
                continue
            with open(os.path.join(build, "CMakeFiles", name + ".dir", "link.txt"),
                      encoding="utf-8") as file:
                words = shlex.split(file.read())
            out, core = os.path.join(self.folder, name), os.path.join(self.folder, "libcore.so")
            words[words.index("-o") + 1] = out
            words = [core if word in (f"lib{self.variant}.a", f"libcore_{self.variant}.a") else word
                     for word in words]
            if subprocess.run(words, cwd=build, check=False).returncode != 0:
                sys.exit(f"mutate: {name} is not built in {build}")
            self.killers.append([out, *KILLERS[area[1]]])

    def time_killers(self):
        """Run each against the original; returns what is said by those that fail."""
        timed, failed = [], []
        for command in self.killers:
            start = time.monotonic()
            result = self._run(command, self.folder, 120)
            if result is None:
                timed.append((time.monotonic() - start, command))
            else:
                failed.append(f"{' '.join(command)} fails without a mutation: {result}")
        self.killers = [Killer(seconds, command) for seconds, command in timed]
        return failed

    @staticmethod
    def _run(command, library, limit):
        """None if it passed, else what happened."""
        def bounded():
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        try:
            done = subprocess.run(command, env={**os.environ, "LD_LIBRARY_PATH": library},
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, timeout=limit, check=False,
                                  preexec_fn=bounded)
        except subprocess.TimeoutExpired:
            return "it does not end"
        if done.returncode == 0:
            return None
        words = done.stderr.decode(errors="replace").strip().splitlines()
        return words[0][:200] if words else f"status {done.returncode}"

    def try_mutant(self, mutant, folder):
        """'same', 'broken' (does not compile), the name of the killer, or None: it lives."""
        folder = os.path.join(folder, self.variant)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        names = [mutant.file] if mutant.file in self.commands else \
            [name for name in self.commands if name.startswith("core/")]
        if names != [mutant.file]:
            for header in os.listdir(os.path.join(ROOT, "core")):
                if header.endswith(".h"):
                    shutil.copy(os.path.join(ROOT, "core", header), folder)
            with open(os.path.join(folder, os.path.basename(mutant.file)), "w",
                      encoding="utf-8") as file:
                file.write(mutant.mutated())
        same, objects = True, dict(self.objects)
        for name in names:
            text = mutant.mutated()
            if name != mutant.file:
                with open(os.path.join(ROOT, name), encoding="utf-8") as file:
                    text = file.read()
            if not self.compile(name, text, folder, folder):
                return "broken"
            objects[name] = self._object(folder, name)
            with open(objects[name], "rb") as new, open(self.objects[name], "rb") as old:
                same &= new.read() == old.read()
        if same:
            return "same"
        self.link(folder, objects)
        for killer in sorted(self.killers, key=Killer.cost):
            result = self._run(killer.command, folder, 2 + 4 * killer.seconds)
            if result is not None:
                killer.kills += 1
                return f"{os.path.basename(killer.command[0])}: {result}"
        return None


class Hunt:
    """All that happened to the mutants."""

    def __init__(self, geometries, folder, options):
        self.geometries, self.folder, self.options = geometries, folder, options
        self.end = time.monotonic() + options.seconds if options.seconds else None
        self.killed, self.survivors, self.not_counted, self.left = [], [], [], []

    def one(self, job):
        number, mutant = job
        if self.end and time.monotonic() > self.end:
            self.left.append(mutant)
            return
        folder = os.path.join(self.folder, f"mutant{number}")
        results = []
        for geometry in self.geometries:
            results.append(geometry.try_mutant(mutant, folder))
            if results[-1] not in (None, "same"):
                break
        shutil.rmtree(folder, ignore_errors=True)
        mutant.killer = results[-1]
        if results[-1] == "broken" or set(results) == {"same"}:
            self.not_counted.append(mutant)
        elif results[-1] in (None, "same"):
            self.survivors.append(mutant)
        else:
            self.killed.append(mutant)
        if self.options.verbose:
            print(f"{mutant.file}:{mutant.line}: {mutant.operator}: {mutant.killer}", flush=True)


def explained():
    """{key of a mutant: the reason} of docs/mutants.md."""
    with open(LIST, encoding="utf-8") as file:
        found = filter(None, map(LISTED.match, file))
        return {match.groups()[:4]: match.group(5) for match in found}


def report(hunt, chosen):
    reasons = explained()
    survivors = sorted(hunt.survivors, key=lambda m: (m.file, m.line, m.column))
    equivalent = [m for m in survivors if reasons.get(m.key(), "").startswith("equivalent")]
    unexplained = [m for m in survivors if m.key() not in reasons]
    for mutant in survivors:
        why = reasons.get(mutant.key())
        if why is None:
            print(f"mutants: lives, and is not in docs/mutants.md; again: "
                  f"tools/mutate.py BUILD --only {mutant.file}:{mutant.line}")
            print(f"- `{mutant.file}: {mutant.function}` `{mutant.text}` {mutant.operator}: ?")
            print(mutant.diff())
    by_operator = {}
    for mutant in chosen:
        by_operator.setdefault(mutant.operator, [0, 0])
    for mutant in hunt.killed:
        by_operator[mutant.operator][0] += 1
    for mutant in survivors:
        by_operator[mutant.operator][1] += mutant not in equivalent
    for operator, (killed, lived) in sorted(by_operator.items()):
        print(f"  {operator:<14}{killed:>5} killed{lived:>5} lived")
    counted = len(hunt.killed) + len(survivors) - len(equivalent)
    percent = 100 * len(hunt.killed) / max(1, counted)
    print(f"[proof] mutants_killed_pct {percent:.2f}")
    print(f"mutants: {len(chosen)} chosen, {len(hunt.not_counted)} the same code or none, "
          f"{len(hunt.killed)} killed, {len(survivors)} lived ({len(equivalent)} equivalent, "
          f"{len(unexplained)} not explained), {len(hunt.left)} left for want of time")
    if percent < GOAL:
        print(f"{'FAILED' if percent < FLOOR else 'BEHIND'} mutants: {percent:.2f} % killed, "
              f"not {GOAL}")
    if len(chosen) - len(hunt.left) < min(LEAST, len(chosen)):
        print(f"FAILED mutants: fewer than {LEAST} could be tried in the time")
        return 1
    return 1 if percent < FLOOR else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--changed", metavar="REV")
    parser.add_argument("--files", metavar="FILE,...")
    parser.add_argument("--only", metavar="FILE:LINE")
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    ends = (".c", ".h") if options.headers else ".c"
    files = sorted(f"core/{name}" for name in os.listdir(os.path.join(ROOT, "core"))
                   if name.endswith(ends))
    if options.files:
        files = options.files.split(",")
    mutants = [mutant for file in files for mutant in Maker(file).mutants]
    chosen = sample(mutants, options)
    if options.only:
        chosen = [m for m in mutants if f"{m.file}:{m.line}" == options.only]
        options.verbose = True
    if options.list:
        for mutant in chosen:
            print(f"{mutant.file}:{mutant.line}:{mutant.column}: {mutant.operator}: "
                  f"`{mutant.text}` -> `{mutant.new.strip()}`")
        print(f"{len(chosen)} of {len(mutants)}")
        return 0
    build = os.path.abspath(options.build)
    folder = os.path.join(build, "mutants")
    shutil.rmtree(folder, ignore_errors=True)
    geometries = [Geometry(build, folder, variant) for variant in GEOMETRIES]
    failed = [line for geometry in geometries for line in geometry.time_killers()]
    for line in failed:
        print("FAILED mutants: " + line, flush=True)
    hunt = Hunt(geometries, folder, options)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(hunt.one, enumerate(chosen)))
    return 1 if report(hunt, chosen) or failed else 0


sys.exit(main())
