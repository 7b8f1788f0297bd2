#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
test_report.py JUNIT_XML BUILD_SECONDS: what a test run tried, and where its time went.

What was tried is each test's own summary: its lines `name: ok (figures)`, of all areas but unit,
and the indented lines in which the kernel's programs count what they did.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

SLOWEST = 8
SUMMARY = re.compile(r"^(\S+: ok .*\d.*|  (?:wild|jumps|elf cut|elf flipped|fork bomb): .*)$", re.M)


def figures(cases):
    print("\nWhat was tried:")
    for case in cases:
        name = case.get("name")
        if not name.startswith("unit/"):
            for line in SUMMARY.findall(case.findtext("system-out") or ""):
                print(f"  {name}: {line.strip()}")


def main():
    cases = ElementTree.parse(sys.argv[1]).getroot().findall("testcase")
    figures(cases)
    times = {case.get("name"): float(case.get("time") or 0) for case in cases}
    areas = {}
    for name, seconds in times.items():
        area = name.split("/")[0]
        count, total = areas.get(area, (0, 0.0))
        areas[area] = (count + 1, total + seconds)
    print("\nWhere the time went (seconds of each test added up; two ran at a time):")
    print(f"  {'build':<28}{float(sys.argv[2]):>8.1f}")
    for area, (count, total) in sorted(areas.items(), key=lambda item: -item[1][1]):
        print(f"  {area:<14}{count:>4} tests    {total:>8.1f}")
    print("The slowest:")
    for name, seconds in sorted(times.items(), key=lambda item: -item[1])[:SLOWEST]:
        print(f"  {name:<28}{seconds:>8.1f}")
    bad = [case.get("name") for case in cases if case.get("status") != "run"]
    if bad:
        print("Failed: " + " ".join(bad))
    if not cases:
        print("No test ran.")
    return 1 if bad or not cases else 0


sys.exit(main())
