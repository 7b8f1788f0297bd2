#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
proof.py BUILD: everything that tests quire for longer than a test may take.

The programs are those of make test, with larger numbers, and coverage.py and mutate.py; two run at
a time.  A program prints lines `[proof] NAME VALUE`; JOIN says how those of several programs make
one figure, GOALS what is good.  A part that fails is one line: what, and how to run it again.
Figures are written to BUILD/proof.json in the form of bench.json, and what each part printed to
BUILD/proof/.

    --soak SECONDS   rounds of all parts, each with seeds of its own, until the time is over (0:
                     until something fails); mutants: all, in the first round
    --only PARTS     parts whose names begin with one of PARTS, which commas separate
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

TOOLS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TOOLS)
BUGS = os.path.join(ROOT, "docs", "bugs.md")
FIGURE = re.compile(r"\[proof\] ([\w.]+) (-?\d+(?:\.\d+)?)")
LANES = 2
ROUND_WORLDS = 10_000_000  # seeds of one round of the model

# name: (goal, unit).  Higher is better in every one.
GOALS = {
    "proof.operations": (20_000_000, "operations"),
    "proof.operations_sanitized": (10_000_000, "operations"),
    "proof.schedules": (5_000_000, "schedules"),
    "proof.exhaustive_pairs_pct": (100, "%"),
    "proof.exhaustive_programs": (20_000, "programs"),
    "proof.failures_injected": (1_000_000, "failures"),
    "proof.failure_sites_pct": (100, "%"),
    "proof.x86_operations": (100_000, "operations"),
    "proof.canaries": (40, "bugs"),
    "proof.canaries_found": (40, "bugs"),
    "proof.mutants_killed_pct": (95, "%"),
    "proof.bug_rows_tested": (51, "rows"),
    "proof.bug_rows_reasoned": (0, "rows"),
    "cov.branch_pct": (99.5, "%"),
    "cov.mcdc_pct": (99.5, "%"),
}
# Goals that are not reached yet, and what they must not fall below meanwhile: a figure between the
# two is printed as BEHIND, and fails nothing.  (docs/verification.md says what is missing.)
FLOORS = {
    "proof.schedules": 1_000_000,
    "proof.exhaustive_pairs_pct": 98,  # on a slow machine
    "proof.exhaustive_programs": 19_000,
    "proof.failures_injected": 250_000,
    "proof.mutants_killed_pct": 88,
    "cov.mcdc_pct": 99.3,
}
# What several programs say of one figure is added up, but for these.
JOIN = {"proof.failure_sites_pct": min, "proof.canaries": max, "proof.canaries_found": max}


class Part:
    """One command: about `seconds` long on an idle core, killed after `limit`."""

    def __init__(self, name, command, seconds):
        self.name, self.command, self.seconds = name, [str(word) for word in command], seconds
        self.limit = 120 + 4 * seconds
        self.figures, self.failure, self.took = {}, None, 0.0

    def again(self):
        words = ["python3" if word == sys.executable else
                 os.path.relpath(word, ROOT) if os.path.isabs(word) else word
                 for word in self.command]
        return shlex.join(words)

    def run(self, folder):
        log = os.path.join(folder, self.name + ".log")
        start = time.monotonic()
        with open(log, "w", encoding="utf-8") as file:
            try:
                child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=file,
                                         stderr=subprocess.STDOUT, cwd=ROOT,
                                         start_new_session=True)
                status = f"status {child.returncode}" if child.wait(self.limit) else None
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                status = f"not done after {self.limit} seconds"
            except OSError as error:
                status = str(error)
        self.took = time.monotonic() - start
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        for name, value in filter(None, (figure_of(line) for line in lines)):
            self.figures[name] = value
        if status:
            said = [line for line in lines if "FAILED" in line] or lines[-1:] or [""]
            self.failure = f"FAILED proof: {self.name}: {status}: {said[0][:400]}; all of it: " \
                           f"{os.path.relpath(log, ROOT)}; again: {self.again()}"


def figure_of(line):
    match = FIGURE.fullmatch(line.strip())
    if not match:
        return None
    name, value = match.groups()
    return name if "." in name else "proof." + name, float(value)


# ---- the parts -------------------------------------------------------------------------------


def targets(build, area):
    """Programs of an area that are built, by variant; one without a variant is micro."""
    found = {}
    for name in sorted(os.listdir(build)):
        words = name.split("_")
        path = os.path.join(build, name)
        if words[0] == "test" and words[1] == area and os.access(path, os.X_OK):
            match = re.search(r"_(quire|(?:micro|real)(?:_san|_tsan)?)$", name)
            found[match[1] if match else "micro"] = path
    return found


def model_parts(build, turn):
    """Half of the operations, and more, under the sanitizers."""
    programs = targets(build, "model")
    first = turn * ROUND_WORLDS + 1_000_000
    for variant, ops, rate in (("micro_san", 8_200_000, 60_000), ("real_san", 2_000_000, 20_000),
                               ("micro", 5_000_000, 120_000), ("quire", 2_500_000, 90_000),
                               ("real", 2_500_000, 90_000)):
        first += 500_000
        yield Part("model." + variant, [programs.get(variant, f"test_model_model_{variant}"),
                                        "--ops", ops, "--first", first], ops // rate)


def schedule_parts(build, turn, soak):
    program = targets(build, "schedule").get("micro", "test_schedule")
    for name, seconds in (("random", 100), ("pct", 75)):
        yield Part("schedule." + name, [program, "--" + name, 2_600_000, "--seed", turn + 1],
                   seconds)
    # Seconds of the processor's time; it ends earlier when all that is wanted is closed.
    whole = soak and turn == 0
    seconds = 7_200 if whole else 720
    yield Part("schedule.exhaustive", [program, "--exhaustive", *([] if whole else ["--wanted"]),
                                       "--seconds", seconds, "--seed", turn + 1], seconds)
    if soak:
        yield Part("schedule.triples", [program, "--triples", "--seconds", 600,
                                        "--seed", turn + 1], 600)


def thread_parts(build, turn):
    programs = targets(build, "threads") or {"real_tsan": "test_threads_threads_real_tsan"}
    for variant, program in programs.items():
        seconds = 4 if variant.endswith("tsan") else 1
        yield Part("threads." + variant, [program, "--seconds", seconds, "--seed", turn + 2],
                   12 * seconds)


def other_parts(build, turn):
    search, inject = targets(build, "search"), targets(build, "inject")
    yield Part("search.wide", [search.get("micro", "test_search_search_micro"), "--wide",
                               "--seconds", 45, "--depth", 4], 45)
    for kind in ("memory", "file"):
        yield Part("search.sections." + kind,
                   [search.get("micro", "test_search_search_micro"), "--sections", kind,
                    "--seconds", 25, "--depth", 6], 25)
    for variant, random, seconds in (("micro", 4_800, 215), ("micro_san", 300, 45),
                                     ("real", 30, 15)):
        yield Part("inject." + variant, [inject.get(variant, f"test_inject_inject_{variant}"),
                                         "--random", random], seconds)
    yield Part("canary", [targets(build, "canary").get("micro", "test_canary_canary_micro"),
                          targets(build, "schedule").get("micro", "test_schedule"), 1,
                          *(os.path.join(build, f"test_unit_{name}_micro")
                            for name in ("clone", "section_io", "paging"))], 150)
    yield Part("x86_64", [sys.executable, os.path.join(ROOT, "tests", "x86_64", "run.py"), build,
                          turn + 100, 36_000, 2_000, 60], 60)
    # Status 1 unless all rungs passed, and pages went out and came in.
    yield Part("kernel.swap", [sys.executable, os.path.join(ROOT, "tests", "kernel", "run.py"),
                               build, "swap"], 63)
    yield Part("coverage", [sys.executable, os.path.join(TOOLS, "coverage.py"), build, "--jobs", 1,
                            "--report", os.path.join(build, "uncovered.md")], 180)
    yield Part("mutants", [sys.executable, os.path.join(TOOLS, "mutate.py"), build, "--jobs", 1,
                           "--count", 200, "--seconds", 300, "--seed", 1], 340)


def all_parts(build, turn, soak):
    parts = [*model_parts(build, turn), *schedule_parts(build, turn, soak),
             *thread_parts(build, turn), *other_parts(build, turn)]
    if soak:
        # What has no seed is done once; mutants all of them.
        parts = [part for part in parts if turn == 0 or
                 part.name.split(".")[0] in ("model", "threads", "schedule", "x86_64")]
        for part in parts:
            if part.name == "mutants":
                part.command[-5:] = ["0", "--headers"]
                part.limit = 86_400
    return sorted(parts, key=lambda part: -part.seconds)


def run_parts(parts, folder):
    """Two at a time, the longest first; says what each did as it ends."""
    say = threading.Lock()

    def one(part):
        part.run(folder)
        with say:
            figures = ", ".join(f"{name} {number(value)}" for name, value in part.figures.items())
            print(part.failure or f"proof: {part.name}: ok ({part.took:.0f} s; {figures})",
                  flush=True)

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(one, parts))


# ---- figures ---------------------------------------------------------------------------------


def bug_rows():
    """Rows of docs/bugs.md by kind: {'test': n, 'cannot': n, 'later': n}, and the later ones."""
    counts, later = {"test": 0, "cannot": 0, "later": 0}, []
    with open(BUGS, encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if not cells[0].isdigit():
                continue
            kind = re.match(r"\w*", cells[-1]).group()
            counts[kind] = counts.get(kind, 0) + 1
            if kind == "later":
                later.append(cells[0])
    return counts, later


def joined(parts, figures):
    for part in parts:
        for name, value in part.figures.items():
            join = JOIN.get(name, lambda a, b: a + b)
            figures[name] = join(figures[name], value) if name in figures else value
            if name == "proof.operations" and part.name.endswith("_san"):
                key = "proof.operations_sanitized"
                figures[key] = figures.get(key, 0) + value
    return figures


def number(value):
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def table(figures):
    """Print the table; returns how many goals were met, and how many not."""
    met = missed = 0
    print(f"\n{'what':<32}{'figure':>14}{'goal':>14}")
    for name, (goal, _) in GOALS.items():
        value = figures.get(name)
        floor = FLOORS.get(name, goal)
        good = value is not None and value >= floor
        met, missed = met + good, missed + (not good)
        said = "MISSED" if not good else "ok" if value >= goal else f"BEHIND (at least {floor:,})"
        shown = "none" if value is None else number(value)
        print(f"{name:<32}{shown:>14}{number(goal):>14}  {said}")
    if figures.get("proof.canaries_found") != figures.get("proof.canaries"):
        print("FAILED proof: a canary was not found; again: make proof")
        missed += 1
    return met, missed


def write(figures, path):
    report = {name: {"value": figures[name], "unit": unit, "goal": goal, "better": "higher"}
              for name, (goal, unit) in GOALS.items() if name in figures}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    print(f"written: {os.path.relpath(path, ROOT)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--soak", type=float)
    parser.add_argument("--only")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    folder = os.path.join(build, "proof")
    os.makedirs(folder, exist_ok=True)
    soak = options.soak is not None
    start, figures, done, failed, turn = time.monotonic(), {}, 0, 0, 0
    while True:
        parts = [part for part in all_parts(build, turn, soak)
                 if part.name.startswith(tuple((options.only or "").split(",")))]
        run_parts(parts, folder)
        joined(parts, figures)
        failed += sum(part.failure is not None for part in parts)
        done += sum(part.failure is None for part in parts)
        turn += 1
        if not soak or failed or (options.soak and time.monotonic() - start > options.soak):
            break
        print(f"proof: round {turn}: " + ", ".join(f"{name} {number(value)}"
                                                   for name, value in figures.items()), flush=True)
    rows, later = bug_rows()
    figures["proof.bug_rows_tested"] = rows["test"]
    figures["proof.bug_rows_reasoned"] = rows["cannot"]
    if later:
        print("proof: rows of docs/bugs.md that wait for later work: " + " ".join(later))
    met, missed = table(figures)
    if not options.only:
        write(figures, os.path.join(build, "soak.json" if soak else "proof.json"))
    print(f"proof: {(time.monotonic() - start) / 60:.1f} minutes, "
          f"{sum(part.took for part in parts) / 60:.1f} of work")
    if options.only:
        met = missed = 0
    print(f"{done + met} passed, {failed + missed} failed")
    return 1 if failed or missed else 0


sys.exit(main())
