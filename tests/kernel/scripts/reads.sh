# SPDX-License-Identifier: MIT
# Read loops: a shell reads byte by byte, so that the next reader finds the rest.
seq 1 6 | { read -r a; read -r b; echo "$a $b"; cat; }
seq 1 5 > f
{ read -r x; echo "got $x"; cat; } < f
while read -r n && [ $n -lt 4 ]; do echo "n $n"; done < f
printf 'a b  c\nlast' | while read -r x y; do echo "[$x][$y]"; done
printf 'x:y:z\n' | { IFS=: read -r a b c; echo "$c$b$a"; }
printf 'no newline' | { read -r a; echo "$? $a"; }
printf 'back\\slash\n' | { read a; echo "$a"; }
printf 'back\\slash\n' | { read -r a; echo "$a"; }
total=0; while read -r n; do total=$((total + n)); done < f; echo "total $total"
exec 6< f; while read -r n <&6; do printf '%s;' "$n"; done; echo; exec 6<&-
seq 1 1000 | while read -r n; do s=$((s + n)); [ $n = 1000 ] && echo "sum $s"; done
(sleep 0.1; echo late) | { read -t 5 -r a; echo "$a"; }
(sleep 1; echo too late) | { read -t 0.1 -r a || echo "timed out"; }
for w in $(cat f); do printf '%s ' "$w"; done; echo
paste -s -d+ f | bc 2>/dev/null || echo "no bc"
rm f
