#!/bin/sh
# SPDX-License-Identifier: MIT
# The demonstration: ordinary shell work, each step of which forks, and then what quire did for it.
# Everything that is printed at the end was read from /proc/quire.

counter() {
    awk -v name="$1" '$1 == name { print $2 }' /proc/quire/counters
}

# The smallest, middle and largest of the numbers on standard input.
spread() {
    sort -n | awk '{ v[NR] = $1 }
        END { if (NR == 0) print "- - -"; else print v[1], v[int((NR + 1) / 2)], v[NR] }'
}

# row LABEL UNIT: a line of the table out of "min median max" on standard input.
row() {
    read -r low middle high
    printf '  %-37s %9s %9s %9s  %s\n' "$1" "$low" "$middle" "$high" "$2"
}

# column N KIND: that column of the forks of that kind.
column() {
    awk -v n="$1" -v kind="$2" '$3 == kind { print $n }' /tmp/forks
}

say() {
    echo
    echo "== $*"
}

failed=0
check() {
    if [ "$1" = "$2" ]; then
        echo "   $3: $1"
    else
        echo "   $3: $1, but $2 was expected"
        failed=1
    fi
}

say "a pipeline"
check "$(seq 1 1000 | grep 7 | sort -rn | head -n 3 | tr '\n' ' ')" "997 987 979 " \
    "the largest three with a 7"

say "200 forks in a loop"
before=$(counter forks)
i=0
while [ $i -lt 200 ]; do
    (exit 0)
    i=$((i + 1))
done
check "$i" 200 "subshells that came and went"

say "nested subshells"
check "$( (echo a; (echo b; (echo c; (echo d)))) | tr -d '\n')" abcd "four levels deep"

say "background jobs and wait"
(sleep 0.2; exit 3) &
first=$!
(exit 5) &
second=$!
wait $second
check $? 5 "the quick one"
wait $first
check $? 3 "the slow one"

say "a parent and a child that write the same pages"
twins 1024 || failed=1

# A sleeping subshell, so that something is shared while we look.
(sleep 0.5; :) &
sleeper=$!
sleep 0.1
cat /proc/quire/spaces >/tmp/spaces
cat /proc/quire/forks >/tmp/forks
cat /proc/quire/counters >/tmp/counters
wait $sleeper

value() {
    awk -v name="$1" '$1 == name { print $2 }' /tmp/counters
}

line() {
    printf '  %-37s %9s  %s\n' "$1" "$2" "$3"
}

echo
echo "What quire did"
echo
line "page faults" count "what happened"
line "first read of a page" "$(value zero_maps)" "the one page of zeros was shown, no memory used"
line "first write to a page" "$(value zero_fills)" "a fresh page of zeros was given"
line "write to a shared page" "$(value copies)" "that one page was copied"
line "write by the last sharer" "$(value reuses)" "it took the page over, nothing was copied"
line "write to an own page" "$(value upgrades)" "only the permission was missing"
line "nothing was missing" "$(value spurious)" "another fault had seen to it"
line "refused" "$(($(value unmapped) + $(value forbidden)))" "a program's mistake: it got a signal"
line "pages a sleeping subshell shares" "$(awk -v pid=$sleeper '$1 == pid { print $4 }' \
    /tmp/spaces)" "with its parent, long after the fork"
line "and pages of its own" "$(awk -v pid=$sleeper '$1 == pid { print $3 }' /tmp/spaces)" \
    "written since by one of the two"
echo
line "page tables" count ""
line "in use now" "$(value frames_table)" "each describes 512 pages, or 512 tables"
line "copied because somebody wrote" "$(awk '/^unshared_level_/ { n += $2 } END { print n }' \
    /tmp/counters)" "of them next to the pages: $(value unshared_level_1)"
line "taken back uncopied" "$(value pushed_down)" "the other sharer had gone"
echo
printf '  %-37s %9s %9s %9s\n' "each fork ($(value forks) since boot)" least median most
column 4 fork | spread | row "quire_space_fork" "nanoseconds"
column 5 fork | spread | row "the whole system call" "nanoseconds"
column 8 fork | spread | row "memory that quire took" "pages of 4 KiB"
column 9 fork | spread | row "with kernel stack and records" "pages of 4 KiB"
column 10 fork | spread | row "memory that was not copied" "pages mapped by the parent"
echo
cat /proc/quire/audit
grep -q '^audit: 0 findings' /proc/quire/audit || failed=1
rm -f /tmp/forks /tmp/counters /tmp/spaces
[ $failed = 0 ] && echo "demonstration: all is well"
exit $failed
