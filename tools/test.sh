#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh BUILD JOBS: build everything, run every test, and say where the time went.
set -u
build=$1
jobs=$2
results=$build/junit.xml
rm -f "$results"

start=$(date +%s)
cmake --build "$build" -j "$jobs" || exit 1
built=$(date +%s)
ctest --test-dir "$build" --output-on-failure --timeout 300 -j 2 \
    --test-output-size-passed 100000 --output-junit "$(pwd)/$results"
status=$?
python3 tools/test_report.py "$results" "$((built - start))" || status=1
exit $status
