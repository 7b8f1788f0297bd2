#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
bench.py BUILD: run the benchmarks, print a table for people, write BUILD/bench.json.

A benchmark prints lines `[bench] NAME VALUE [UNIT]`, where NAME has dots in it and its last part is
the unit if none is given; whatever else it prints is passed on.  GOALS below is the only place that
knows what is good: a figure that it names and no program printed is an error; a figure that it does
not name is shown, and left out of the file.  One that it names without a goal is in the file.
"""

import json
import os
import re
import subprocess
import sys

TOOLS = os.path.dirname(os.path.abspath(__file__))
TIME_LIMIT = 600

FIGURE = re.compile(r"(?:bench )?(\w+(?:\.\w+)+) (-?\d+(?:\.\d+)?)(?: (\S+))?")

# One page copied by `rep movsq`, in guest instructions: 512 turns and one.
PAGE_COPY = 513

# What Linux 6.1 as Debian ships it takes in the same emulator: fork alone, empty and for each page.
LINUX_FORK = 46300
LINUX_FORK_PAGE = 119


def linux_fork(mebibytes):
    return LINUX_FORK + LINUX_FORK_PAGE * mebibytes * 256


# name: (goal or None, Linux's figure or None).  Lower is better in every one.
GOALS = {
    "soft.fork.ns": (500, None),
    "soft.fork.flat_bytes": (1.1, None),
    "soft.fork.flat_regions": (1.1, None),
    "soft.cow.ratio": (1.5, None),
    "soft.reuse.ratio": (0.2, None),
    "soft.reuse.store.ratio": (None, None),
    "soft.dense.ratio": (1.6, None),
    "soft.sparse.ratio": (None, None),
    "soft.first_write.ratio": (6, None),
    "soft.drop.flat": (1.3, None),
    "soft.fork_drop.ns": (None, None),
    "soft.fork_drop.fork.ns": (500, None),
    "soft.fork_drop.frames": (0, None),
    "soft.depth.ratio": (1.05, None),
    "soft.live_forks.memory_ratio": (None, None),
    "soft.live_forks.metadata.bytes": (None, None),
    "soft.pin.ns": (None, None),
    "soft.unpin.ns": (None, None),
    "soft.move_1gib.us": (None, None),
    "soft.move_1gib_apart.us": (None, None),
    "soft.clone.ratio": (None, None),
    "soft.diff.us": (None, None),
    "soft.populate.ratio": (None, None),
    "soft.file_fault.ratio": (None, None),
    "soft.file_fault.alone.ratio": (None, None),
    "soft.file_fault_around.ratio": (None, None),
    "soft.file_cow.ratio": (1.5, None),
    "soft.file_read.ratio": (None, None),
    "soft.file_read_mapped.ratio": (None, None),
    "soft.file_map_1gib.us": (None, None),
    "soft.file_map_1gib_alone.us": (None, None),
    "soft.fork_100_maps.ns": (500, None),
    "soft.procs50.resident_ratio": (None, None),
    "soft.soft_fault.ratio": (None, None),
    "soft.pageout.ratio": (None, None),
    "soft.pagein.ratio": (None, None),
    "soft.aging.ms_per_gib": (None, None),
    "soft.aging.shared_1000.ratio": (2, None),
    "soft.paged.bytes": (None, None),
    "soft.store.write.ratio": (None, None),
    "soft.store.read.ratio": (None, None),
    "soft.store.shrink.ratio": (None, None),
    "frame.bytes": (32, None),
    "x86.fork.1mib.insns": (12000, linux_fork(1)),
    "x86.fork.16mib.insns": (12000, linux_fork(16)),
    "x86.fork.64mib.insns": (12000, linux_fork(64)),
    "x86.fork.256mib.insns": (12000, linux_fork(256)),
    # The upper tables are unshared too, so the bound is that of a large space: 20 page copies.
    "x86.first_write.insns": (20 * PAGE_COPY, None),
    "x86.cow.insns": (900, 3931),
    "x86.reuse.insns": (250, 1364),
    "x86.zero_write.insns": (850, 2761),
    "x86.zero_read.insns": (280, 1243),
    "x86.exit_page.insns": (150, 1314),
    "x86.file_read.insns": (120, 580),
    "x86.file_cow.insns": (1000, 4497),
    "x86.file_fault.insns": (None, None),
    "x86.file_read_call.insns": (None, None),
    "x86.file_map_1gib.insns": (None, None),
    "x86.fork_100_maps.insns": (12000, None),
    "kernel.procs50.resident_ratio": (None, None),
    "paging.vs_optimum.75pct": (None, None),
    "paging.vs_optimum.50pct": (None, None),
    "paging.vs_optimum.25pct": (None, None),
    "paging.vs_optimum_pages.75pct": (None, None),
    "paging.vs_optimum_pages.50pct": (None, None),
    "paging.vs_optimum_pages.25pct": (None, None),
    "paging.run.100pct": (None, None),
    "paging.run.75pct": (None, None),
    "paging.run.50pct": (None, None),
    "paging.run.25pct": (None, None),
    "paging.vs_linux.75pct": (None, None),
    "paging.vs_linux.50pct": (None, None),
    "paging.vs_linux.25pct": (None, None),
    "paging.vs_linux.time.75pct": (None, None),
    "paging.vs_linux.time.50pct": (None, None),
    "paging.vs_linux.time.25pct": (None, None),
    "pagesim.lru.75pct.ratio": (None, None),
    "pagesim.aging.75pct.ratio": (None, None),
    "pagesim.clock.75pct.ratio": (None, None),
    "pagesim.lru.50pct.ratio": (None, None),
    "pagesim.aging.50pct.ratio": (None, None),
    "pagesim.clock.50pct.ratio": (None, None),
    "pagesim.lru.25pct.ratio": (None, None),
    "pagesim.aging.25pct.ratio": (None, None),
    "pagesim.clock.25pct.ratio": (None, None),
}


def programs(build):
    """(name, command, environment) of each benchmark; a soft one is any program in BUILD/bench."""
    folder = os.path.join(build, "bench")
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            yield name, [path], {}
    traces = os.path.join(os.path.dirname(TOOLS), "bench", "traces")
    traces = [os.path.join(traces, name) for name in sorted(os.listdir(traces))]
    yield "recorded programs, simulated", [os.path.join(build, "pagesim"), "--bench", *traces], {}
    yield "recorded programs", [os.path.join(build, "replay"), *traces], {}
    boot = ["sh", os.path.join(TOOLS, "boot.sh"), build, "quiet"]
    yield "kernel", [*boot, "init=/bin/bench"], {"QUIRE_COUNT": "1"}
    yield "kernel, Debian", [*boot, "init=/bin/procs50"], {"QUIRE_IMAGE": "root.cpio"}
    yield "kernel, beside Linux", [sys.executable, os.path.join(TOOLS, "vslinux.py"), build], {}


def run(name, command, environment):
    """The figures of one program: {name: (value, unit)}; None if it failed."""
    print(f"bench: {name} ...", flush=True)
    result = subprocess.run(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIME_LIMIT,
                            text=True, errors="replace", check=False)
    figures = {}
    for line in result.stdout.splitlines():
        figure = FIGURE.fullmatch(line.strip())
        if figure:
            name, value, unit = figure.groups()
            figures[name] = (float(value), unit or name.rsplit(".", 1)[1])
        else:
            print("    " + line)
    if result.returncode != 0:
        print(f"bench: {name} failed with status {result.returncode}")
        return None
    return figures


def number(value):
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"


def table(figures):
    width = max(map(len, figures))
    print(f"\n{'what':<{width}}{'quire':>12}  {'unit':<10}{'goal':>10}  {'':<6}{'Linux 6.1':>12}")
    for name, (value, unit) in figures.items():
        goal, linux = GOALS.get(name, (None, None))
        verdict = "" if goal is None else "met" if value <= goal else "MISSED"
        print(f"{name:<{width}}{number(value):>12}  {unit:<10}"
              f"{'' if goal is None else number(goal):>10}  {verdict:<6}"
              f"{'' if linux is None else number(linux):>12}")
    print("\ninsns: guest instructions counted by the emulator; Linux's were measured once in the"
          "\nsame one (Debian's kernel; a fork of n pages as 46,300 + 119 n)."
          "\nratio: to the copy of the same page, where the name has cow, reuse, dense, sparse,"
          "\nfirst_write or file in it; to the optimum's page-ins for pagesim, with memory for that"
          "\npart of the pages; to Linux's page-ins and time for vs_linux, likewise.")


def main():
    build = sys.argv[1]
    figures, failed = {}, False
    for name, command, environment in programs(build):
        found = run(name, command, environment)
        failed |= found is None
        figures.update(found or {})
    ordered = {name: figures[name] for name in GOALS if name in figures}
    ordered.update(figures)
    table(ordered)
    report = {name: {"value": figures[name][0], "unit": figures[name][1], "goal": goal,
                     "better": "lower"}
              for name, (goal, _) in GOALS.items() if name in figures}
    path = os.path.join(build, "bench.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    print(f"written: {path}")
    missing = [name for name in GOALS if name not in figures]
    if missing:
        print("not measured: " + " ".join(missing))
    # Linux is a package to be fetched.
    failed |= any(not name.startswith("paging.vs_linux.") for name in missing)
    return 1 if failed else 0


sys.exit(main())
