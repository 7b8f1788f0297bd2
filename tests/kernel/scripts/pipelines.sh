# SPDX-License-Identifier: MIT
# Filters in a row: each is a process of its own.
seq 1 500 | grep 3 | sed 's/3/three/' | sort | uniq | head -n 7
seq 1 20 | awk '{ s += $1; print $1, s }' | tail -n 3
printf 'b 2\na 1\nc 3\n' | sort -k2 -rn | cut -d' ' -f1 | tr a-z A-Z
printf 'one:two:three\n' | cut -d: -f2- | tr : '\n'
seq 1 30 | xargs -n 7 echo row
seq 1 9 | xargs -I{} echo "item {}" | sed -n '2p;$p'
echo "the quick brown fox jumps over the lazy dog" | tr ' ' '\n' | sort | uniq -c |
    sort -rn | awk '{ print $2 }' | head -n 3
yes | head -n 5 | wc -l
seq 1 100000 | tail -n 1
echo hello | cat | cat | cat | cat | cat | cat | cat | cat | rev
false | true; echo "status $?"
true | false; echo "status $?"
(echo out; echo err >&2) 2>/dev/null | wc -l
seq 1 10 | while read -r n; do [ $((n % 3)) = 0 ] && echo "fizz $n"; done
seq 1 5 | tee copy | wc -l; cat copy | md5sum; rm copy
