#!/bin/sh
# SPDX-License-Identifier: MIT
#
# traces.sh BUILD [NAME...]: record bench/traces again: sort, python, sqlite, cc1, or those named.
#
# Each program runs under valgrind's lackey, which prints every access, and BUILD/pagetrace makes a
# page reference trace of that (tools/pagesim/trace.h).  What they are given is made here, and
# small: a program is a hundred times slower there.  A trace differs a little with the versions of
# the program and its libraries, so figures are compared within one set of traces only.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
build=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# record NAME WINDOW PROGRAM...: WINDOW is the smallest memory, in pages, that the trace is to be
# exact for: at most a quarter of the pages that the program touches, and large, for a small trace.
record() {
    name=$1 window=$2
    shift 2
    valgrind --tool=lackey --trace-mem=yes --log-fd=9 "$@" 9>&1 >/dev/null 2>"$work/said" |
        "$build/pagetrace" --window "$window" >"$work/$name"
    xz -9e -c "$work/$name" >"$tree/bench/traces/$name.xz"
}

trace_sort() {
    awk 'BEGIN {
        for (x = i = 0; i < 30000; i++) {
            x = (x * 1103515 + 12345) % 2147483648
            printf "%010d is the key of line %d, and the rest of it is %s\n", x, i, "long enough"
        }
    }' >"$work/lines"
    LC_ALL=C record sort 256 sort --parallel=1 -S 32M "$work/lines"
}

trace_python() {
    cat >"$work/lists.py" <<'END'
words = ["%06d is a word that fills some memory" % (i * 7919 % 30011) for i in range(7000)]
groups = {}
for word in words:
    groups.setdefault(word[:5], []).append(word)
index = dict((word, (i, [i])) for i, word in enumerate(words))
total = sum(index[word][0] for word in sorted(index))
for key in sorted(groups):
    groups[key].sort()
print(total, len(groups))
END
    record python 256 /usr/bin/python3 -S -E "$work/lists.py"
}

trace_sqlite() {
    cat >"$work/index.sql" <<'END'
PRAGMA cache_size = -64000;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO t SELECT i, printf('%08d%200d', i * 7919 % 40009, i), i * 31 % 1000 FROM n;
CREATE INDEX by_name ON t(name);
CREATE INDEX by_value ON t(value);
SELECT count(*), sum(length(name)) FROM t WHERE value < 200;
END
    record sqlite 128 sqlite3 :memory: ".read $work/index.sql"
}

trace_cc1() {
    gcc -E -I "$tree/include" -I "$tree/core" -I "$tree/machine/soft" "$tree/core/stats.c" \
        -o "$work/stats.i"
    record cc1 512 "$(gcc -print-prog-name=cc1)" -quiet -O1 "$work/stats.i" -o /dev/null
}

[ $# -gt 0 ] || set -- sort python sqlite cc1
for name in "$@"; do
    "trace_$name"
done
