#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check_symbols.sh LIBRARY CORE_DIR: what the product's core objects refer to.
#
# A kernel links core/ with nothing but the four mem functions that any compiler may call, a host
# and a machine.  Anything else (a libc call, a stack protector, a test hook) fails here, by name.
set -eu
library=$1
core=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for source in "$core"/*.c; do
    echo "$(basename "$source").o"
done | sort >"$work/members"
(cd "$work" && ar x "$library" $(cat members))

cd "$work"
nm --defined-only -g -P $(cat members) | awk 'NF > 1 { print $1 }' | sort -u >defined
nm --undefined-only -P $(cat members) | awk 'NF > 1 { print $1 }' | sort -u >wanted
comm -23 wanted defined |
    grep -Ev '^(mem(cpy|move|set|cmp)|(host|mmu)_[a-z_]+|_GLOBAL_OFFSET_TABLE_)$' >strangers || true
nm -P $(cat members) | awk '$1 ~ /^qi_test_/ { print $1 }' | sort -u >hooks
# A core without global state: no writable data, not even zeroed.  (Constant tables that hold
# pointers are in .data.rel.ro, which only a loader writes.)
for member in $(cat members); do
    size -A "$member" | awk -v file="$member" '
        $1 ~ /^\.(data|bss|tdata|tbss)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 {
            print file ": " $2 " bytes of " $1
        }'
done >globals

status=0
for list in strangers hooks globals; do
    [ -s $list ] || continue
    case $list in
    strangers) echo "core refers to symbols that a kernel need not have:" ;;
    hooks) echo "test hooks are left in the product:" ;;
    globals) echo "core has global state:" ;;
    esac
    sed 's/^/    /' $list
    status=1
done
[ $status -eq 0 ] && echo "symbols: ok ($(wc -l <members) objects, $(wc -l <wanted) references)"
exit $status
