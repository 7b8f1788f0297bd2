#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fifty processes of one dynamic program: what they have in memory together, counted once, is a
few times what one has, and the shares that smaps tells sum to it.

Frames are counted by pagemap, where a frame that several have is the same number; the zero page,
which is nobody's, is left out by counting only mappings that smaps calls resident."""
import os
import re
import subprocess
import sys
import time

MANY = 50
COMMAND = ["sleep", "1000"]


def figures(pid):
    """Rss and Pss in KiB, and the frames."""
    rss = pss = 0
    frames = set()
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as text, \
            open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for line in text:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) .*", line)
            if head:
                start, end = (int(x, 16) for x in head.groups())
            elif line.startswith("Rss:"):
                kib = int(line.split()[1])
                rss += kib
                if kib:
                    pagemap.seek(start // 4096 * 8)
                    words = pagemap.read((end - start) // 4096 * 8)
                    for i in range(0, len(words), 8):
                        word = int.from_bytes(words[i:i + 8], "little")
                        if word >> 63:
                            frames.add(word & (1 << 55) - 1)
            elif line.startswith("Pss:"):
                pss += int(line.split()[1])
    return rss, pss, frames


def start():
    return subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL)


def state(process):
    """What changes while a program starts."""
    with open(f"/proc/{process.pid}/comm", encoding="ascii") as file:
        name = file.read()
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return name, file.read()


def settle(processes):
    """Until each of them sleeps in its call."""
    before, now = None, [state(process) for process in processes]
    while now != before or any(name != "sleep\n" for name, _ in now):
        time.sleep(0.2)
        before, now = now, [state(process) for process in processes]


def main():
    processes = [start()]
    settle(processes)
    rss_one, _, frames_one = figures(processes[0].pid)
    processes += [start() for _ in range(MANY - 1)]
    settle(processes)
    rss = pss = 0
    frames = set()
    for process in processes:
        r, p, f = figures(process.pid)
        rss += r
        pss += p
        frames |= f
    with open(f"/proc/{processes[0].pid}/smaps_rollup", encoding="utf-8") as text:
        rollup = {line.split(":")[0]: int(line.split()[1]) for line in text if " kB" in line}
    for process in processes:
        process.kill()
        process.wait()
    once = len(frames) * 4
    print("one:", abs(len(frames_one) * 4 - rss_one) <= 8)
    print("counted each for itself:", rss > MANY * 9 // 10 * rss_one)
    print("counted once:", once < 8 * rss_one)
    # Of each mapping a part of a KiB is lost, of thirty in each process; others than these fifty
    # may have a part of their library.
    print("shares:", once * 0.8 - MANY * 30 < pss <= once + 4)
    print("rollup:", abs(rollup["Rss"] - rss_one) <= 16, rollup["Pss"] < rollup["Rss"] // 3)
    print(f"one {rss_one} KiB, {MANY} together {rss} KiB by each, {once} KiB counted once, "
          f"{pss} KiB by shares", file=sys.stderr)


main()
