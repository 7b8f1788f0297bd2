#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
coverage.py BUILD [--seconds N] [--jobs N] [--report FILE]: branch and condition coverage of core/.

Builds the tests of both geometries with clang-19's instrumentation in BUILD/coverage, runs them
(the explorers for N seconds each), and joins the two geometries: what either has seen is seen.
Counted are

    branches    each condition, true and false; each case of a switch
    conditions  each condition of a decision that has several, shown to decide it alone (MC/DC)

and every function must have been called.  docs/coverage.md says which lines do not count, and
lists, with a reason each, what cannot be seen; anything else that was not seen fails.  With
--report everything unseen is written to FILE, a line each, as the list wants it.
"""

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from csource import Source

TOOLS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TOOLS)
LIST = os.path.join(ROOT, "docs", "coverage.md")
FLAGS = "-fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc -fprofile-list={}"
VARIANTS = ("micro", "real")
# The area of a program, and the runs that it gets (S: the seconds of one explorer).
RUNS = {
    "unit": [[]],
    "search": [["--depth", "3", "--seconds", "S"], ["--wide", "--depth", "2", "--seconds", "S"]],
    "model": [["--ops", "200000"]],
    "inject": [[]],
    "schedule": [["--random", "1000000000", "--pct", "1000000000", "--seconds", "S"],
                 ["--exhaustive", "--seconds", "S"]],
}
TIME_LIMIT = 300
REVIEWED_LIMIT = 0.5  # percent
# Percent; the goal of both is 99.5, and some conditions are seen by chance.
FLOOR = {"branch": 99.5, "mcdc": 99.3}

# What these span is for the tests and the developer, and is left by a panic, or not at all.
UNCOUNTED = {"qi_assert", "qi_check", "host_panic", "QI_CANARY", "QI_FAIL"}
CASE_BRANCH, BRANCH, MCDC_BRANCH = 7, 4, 6
LISTED = re.compile(r"- `([^`]+?): (\w+)` `(.+?)` (never true|never false|never decides|never runs)"
                    r"[:,] (.+)")


def run(command, **options):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                            timeout=TIME_LIMIT, **options)
    return result.returncode, result.stdout


def must(command, **options):
    status, text = run(command, **options)
    if status != 0:
        print(text)
        sys.exit(f"coverage: failed: {' '.join(command)}")
    return text


# ---- building and running --------------------------------------------------------------------


def build_programs(folder, jobs):
    """Every program of RUNS in the variants of VARIANTS: (area, variant, path)."""
    os.makedirs(folder, exist_ok=True)
    only_core = os.path.join(folder, "only_core.list")
    with open(only_core, "w", encoding="utf-8") as file:
        file.write(f"[clang]\nsource:{ROOT}/core/*=allow\ndefault:skip\n")
    must(["cmake", "-S", ROOT, "-B", folder, "-DCMAKE_C_COMPILER=clang-19",
          "-DCMAKE_C_FLAGS=" + FLAGS.format(only_core)])
    listing = must(["cmake", "--build", folder, "--target", "help"])
    programs = []
    for name in sorted(set(re.findall(r"\btest_\w+", listing))):
        area, variant = name.split("_")[1], name.rsplit("_", 1)[1]
        if name == "test_schedule":
            variant = "micro"
        if area in RUNS and variant in VARIANTS:
            programs.append((area, variant, os.path.join(folder, name)))
    # Warnings are the business of other builds: clang is told -w, last of all.
    must(["cmake", "--build", folder, "-j", str(jobs), "--target",
          *(os.path.basename(path) for _, _, path in programs)],
         env={**os.environ, "CCC_OVERRIDE_OPTIONS": "# +-w"})
    return programs


def run_programs(programs, profiles, seconds, lanes):
    """Run all of them, `lanes` at a time; returns the lines that say what failed."""
    shutil.rmtree(profiles, ignore_errors=True)
    jobs = [(variant, [path] + [seconds if word == "S" else word for word in words])
            for area, variant, path in programs for words in RUNS[area]]

    def one(job):
        variant, command = job
        profile = os.path.join(profiles, variant, os.path.basename(command[0]) + "_%p.profraw")
        status, text = run(command, env={**os.environ, "LLVM_PROFILE_FILE": profile})
        return None if status == 0 else f"{' '.join(command)}: status {status}: {text[-500:]}"

    with ThreadPoolExecutor(lanes) as pool:
        return [line for line in pool.map(one, jobs) if line]


def export(programs, variant, profiles):
    """What llvm-cov knows about one geometry."""
    merged = os.path.join(profiles, variant + ".profdata")
    raw = os.path.join(profiles, variant)
    must(["llvm-profdata-19", "merge", "-sparse", "-o", merged,
          *(os.path.join(raw, name) for name in os.listdir(raw))])
    objects = [path for _, v, path in programs if v == variant]
    command = ["llvm-cov-19", "export", "-instr-profile", merged, objects[0]]
    for path in objects[1:]:
        command += ["-object", path]
    result = subprocess.run(command, capture_output=True, text=True, check=True,
                            timeout=TIME_LIMIT)
    return json.loads(result.stdout)["data"][0]["functions"]


# ---- what was seen ---------------------------------------------------------------------------


class Coverage:
    """Keys are (file, position...); what either geometry saw is seen."""

    def __init__(self):
        self.branches = collections.defaultdict(lambda: [0, 0])
        self.cases = set()
        self.decisions = collections.defaultdict(lambda: collections.defaultdict(bool))
        self.functions = collections.defaultdict(int)

    def add(self, functions):
        for function in functions:
            files = [os.path.relpath(name, ROOT) for name in function["filenames"]]
            if files[0].startswith("core/"):
                start = function["regions"][0]
                self.functions[(files[0], start[0], start[1])] += function["count"]
            self._branches(function, files)
            self._decisions(function, files)

    def _branches(self, function, files):
        for l1, c1, l2, c2, true, false, file, _, kind in function["branches"]:
            if files[file].startswith("core/"):
                key = (files[file], l1, c1, l2, c2)
                self.branches[key][0] += true
                self.branches[key][1] += false

    def _decisions(self, function, files):
        for record in function.get("mcdc_records", []):
            l1, c1, l2, c2 = record[:4]
            covered = next(part for part in record[4:] if isinstance(part, list))
            if not files[0].startswith("core/"):
                continue
            inside = sorted(branch[:4] for branch in function["branches"]
                            if branch[8] == MCDC_BRANCH and files[branch[6]] == files[0] and
                            (l1, c1) <= tuple(branch[:2]) and tuple(branch[2:4]) <= (l2, c2))
            # A condition that is a macro is not where the decision is.
            if len(inside) == len(covered):
                decision = self.decisions[(files[0], l1, c1, l2, c2)]
                for where, seen in zip(inside, covered):
                    decision[tuple(where)] |= seen


class Uncounted:
    """The rule of docs/coverage.md for one file."""

    def __init__(self, source):
        self.source = source
        self.spans = [(start, end) for name, start, end in source.defines if name in UNCOUNTED]
        tokens = source.tokens
        self.same = {}  # of labels over one body: where each starts, and the first of them
        self.canaries = [first for first, _ in source.calls({"QI_CANARY"})]
        for first, last in source.calls(UNCOUNTED):
            first -= tokens[first - 1].text == "!"
            self.spans.append((tokens[first].start, tokens[last].end))
        for function in source.functions:
            self.spans += [(tokens[first].start, tokens[last].end)
                           for first, last in source.canary_only(function)]
            statements = list(source.statements(function).walk())
            self._dead_statements(statements)
            for block in statements:
                self._dead_ways_out(block.body)

    def _dead_statements(self, statements):
        """Case labels that lead to a panic, and the way past all cases."""
        tokens = self.source.tokens
        labels = []
        for statement in statements:
            if statement.kind == "switch":
                self.spans.append((tokens[statement.head[0]].start, tokens[statement.head[1]].end))
            if statement.kind == "label":
                labels.append(statement)
                continue
            if labels and tokens[statement.first].text == "host_panic":
                self.spans.append((tokens[labels[0].first].start, tokens[statement.last].end))
            self.same.update((tokens[label.first].start, tokens[labels[0].first].start)
                             for label in labels)
            labels = []

    def _dead_ways_out(self, body):
        """Labels that only leave a switch, when the next statement panics."""
        tokens = self.source.tokens
        for switch, then in zip(body, body[1:]):
            if switch.kind != "switch" or tokens[then.first].text != "host_panic":
                continue
            labels = []
            for statement in switch.body[0].body:
                if statement.kind == "label":
                    labels.append(statement)
                    continue
                if statement.kind == "break" and labels:
                    self.spans.append((tokens[labels[0].first].start, tokens[statement.last].end))
                labels = []

    def __call__(self, l1, c1):
        at = self.source.offset(l1, c1)
        return any(start <= at < end for start, end in self.spans)

    def has_canary(self, l1, c1, l2, c2):
        low, high = self.source.offset(l1, c1), self.source.offset(l2, c2)
        return any(low <= self.source.tokens[i].start < high for i in self.canaries)


def weigh(coverage):
    """({kind: how many count}, [what was not seen: (kind, file, function, text, how, line)])."""
    sources = {}
    unseen = []
    counted = {"branch": 0, "mcdc": 0}

    def source_of(name):
        if name not in sources:
            with open(os.path.join(ROOT, name), encoding="utf-8") as file:
                source = Source(file.read())
            sources[name] = source, Uncounted(source)
        return sources[name]

    def miss(kind, name, l1, c1, l2, c2, how):
        source, _ = source_of(name)
        start, end = source.offset(l1, c1), source.offset(l2, c2)
        function = source.function_at(start)
        text = re.sub(r"\s+", " ", source.text[start:end])
        unseen.append((kind, name, function.name if function else "?", text, how, l1))

    cases = collections.Counter()
    for (name, *where), (true, _) in coverage.branches.items():
        source, uncounted = source_of(name)
        start = source.offset(*where[:2])
        if start in uncounted.same:
            cases[(name, uncounted.same[start])] += true
    for (name, *where), (true, false) in sorted(coverage.branches.items()):
        source, uncounted = source_of(name)
        start = source.offset(*where[:2])
        if uncounted(*where[:2]) or uncounted.same.get(start, start) != start:
            continue
        outcomes = [("never true", true), ("never false", false)]
        if start in uncounted.same:
            outcomes = [("never true", cases[(name, start)])]
        counted["branch"] += len(outcomes)
        for how, count in outcomes:
            if count == 0:
                miss("branch", name, *where, how)
    for (name, *where), conditions in sorted(coverage.decisions.items()):
        _, uncounted = source_of(name)
        if uncounted(*where[:2]) or uncounted.has_canary(*where):
            continue
        for condition, seen in sorted(conditions.items()):
            if uncounted(*condition[:2]):
                continue
            counted["mcdc"] += 1
            if not seen:
                miss("mcdc", name, *condition, "never decides")
    for (name, line, column), count in sorted(coverage.functions.items()):
        if count == 0:
            function = source_of(name)[0].function_at(source_of(name)[0].offset(line, column))
            unseen.append(("function", name, function.name, function.name, "never runs", line))
    return counted, unseen


# ---- the reviewed list -----------------------------------------------------------------------


def reviewed():
    """(file, function, text, how) of each entry of the list."""
    with open(LIST, encoding="utf-8") as file:
        return {match.groups()[:4] for match in map(LISTED.match, file) if match}


def is_listed(entry, known):
    """What is never true, or never false, decides nothing either: one line says both."""
    place, how = entry[1:4], entry[4]
    ways = {how} | ({"never true", "never false"} if how == "never decides" else set())
    return any(place + (way,) in known for way in ways)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--seconds", default="5")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report")
    options = parser.parse_args()
    folder = os.path.join(os.path.abspath(options.build), "coverage")
    profiles = os.path.join(folder, "profiles")
    programs = build_programs(folder, options.jobs)
    failures = run_programs(programs, profiles, options.seconds, options.jobs)
    for line in failures:
        print("FAILED coverage: " + line)
    coverage = Coverage()
    for variant in VARIANTS:
        coverage.add(export(programs, variant, profiles))
    counted, unseen = weigh(coverage)
    if options.report:
        with open(options.report, "w", encoding="utf-8") as file:
            for _, name, function, text, how, line in unseen:
                file.write(f"- `{name}: {function}` `{text}` {how}, line {line}\n")
    known = reviewed()
    new = [entry for entry in unseen if not is_listed(entry, known)]
    stale = known - {entry[1:5] for entry in unseen}
    for _, name, function, text, how, line in new:
        print(f"coverage: {name}:{line}: {function}: `{text}` {how}; not in docs/coverage.md")
    for name, function, text, how in sorted(stale):
        print(f"coverage: docs/coverage.md lists what was seen: {name}: {function}: {text} {how}")
    excused = 100 * (len(unseen) - len(new)) / max(1, sum(counted.values()))
    if excused > REVIEWED_LIMIT:
        print(f"FAILED coverage: {excused:.2f} % are reviewed, more than {REVIEWED_LIMIT} %")
    low = False
    for kind in ("branch", "mcdc"):
        missing = sum(entry[0] == kind for entry in unseen)
        seen = 100 * (1 - missing / max(1, counted[kind]))
        print(f"[proof] cov.{kind}_pct {seen:.2f}")
        if seen < FLOOR[kind]:
            print(f"FAILED coverage: {seen:.2f} % of {kind}, less than {FLOOR[kind]} %")
            low = True
    print(f"coverage: {counted['branch']} branches, {counted['mcdc']} conditions counted; "
          f"{len(unseen)} not seen, {len(unseen) - len(new)} of them reviewed")
    return 1 if failures or low or excused > REVIEWED_LIMIT else 0


sys.exit(main())
