#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
run.py BUILD SEED OPERATIONS EVERY ROUNDS: the same sequence on the soft machine and in QEMU.

The soft machine says the hashes first.  Then processors in software (processor.c) must say the same
ones, without identifiers of spaces and with them, and bare.elf with 1, 2 and 4 CPUs, each on a
thread of its own; after them all CPUs run ROUNDS rounds at once, in software ten times as many.
"""

import os
import subprocess
import sys

EXIT_OK = 85
CPUS = (1, 2, 4)
QEMU = ("qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max,-la57 -m 96M -nodefaults "
        "-no-user-config -display none -no-reboot -serial stdio "
        "-device isa-debug-exit,iobase=0xf4,iosize=4").split()


def lines_of(command, wanted, limit):
    """What the program says; ends everything if it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              timeout=limit, check=False)
        status, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        status, said = f"the time limit of {limit} s", error.stdout or b""
    lines = said.decode(errors="replace").split("\n")
    if status != wanted:
        print("\n".join(lines))
        sys.exit(f"FAILED x86_64: ended with {status}; again: {' '.join(command)}")
    return lines


def same(wanted, said, options):
    """The hashes must be these."""
    hashes = [line.strip() for line in said if line.startswith("trace ")]
    for soft_line, line in zip(wanted, hashes):
        if soft_line != line:
            sys.exit(f"FAILED x86_64: {options}: '{line}', the soft machine '{soft_line}'")
    if not wanted or len(wanted) != len(hashes):
        sys.exit(f"FAILED x86_64: {options}: {len(hashes)} hashes, not {len(wanted)}")


def main():
    build, seed, operations, every, rounds = sys.argv[1], *map(int, sys.argv[2:])
    limit = 120 + operations // 100
    soft = lines_of([os.path.join(build, "test_x86_64_trace_quire"), str(seed), str(operations),
                     str(every)], 0, limit)
    wanted = [line for line in soft if line.startswith("trace ")]
    for tagged in (0, 1):
        options = [str(n) for n in (seed, operations, every, 10 * rounds, tagged)]
        said = lines_of([os.path.join(build, "test_x86_64_processor"), *options], 0, limit)
        same(wanted, said, f"test_x86_64_processor {' '.join(options)}")
        print(f"in software: {', '.join(line for line in said if ':' in line)}")
    for cpus in CPUS:
        options = f"cpus={cpus} seed={seed} ops={operations} every={every} rounds={rounds}"
        said = lines_of([*QEMU, "-smp", str(cpus), "-kernel", os.path.join(build, "bare.elf"),
                         "-append", options], EXIT_OK, limit)
        same(wanted, said, options)
        asked = [line.strip() for line in said if line.startswith("CPUs asked")]
        print(f"{cpus} CPUs: {operations} operations, {len(wanted)} hashes alike; {asked[0]}")
    print(f"[proof] x86_operations {operations * len(CPUS)}")


main()
