#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
test_report.py JUNIT_XML BUILD_SECONDS: where the time of a test run went, by area and by test.
"""

import sys
import xml.etree.ElementTree as ElementTree

SLOWEST = 8


def main():
    cases = ElementTree.parse(sys.argv[1]).getroot().findall("testcase")
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
