# Pipelines over coreutils, in the ways that bash has to connect programs.
set -eu
T=$(mktemp -d); cd "$T"
seq 1 5000 | awk '{ print $1 % 97, $1 * 7919 % 10007 }' >pairs
cut -d' ' -f1 pairs | sort -n | uniq -c | sort -k1,1nr -k2,2n | head -3
sort -k2,2n pairs | awk 'NR % 500 == 0 { print NR, $0 }' | tee part | wc -l; cat part
join <(seq 1 20 | sort) <(seq 15 25 | sort | sed 's/$/ x/') | tr '\n' ';'; echo
comm -12 <(seq 1 3 300 | sort) <(seq 1 5 300 | sort) | wc -l
paste -d: <(seq 1 3) <(seq 4 6) <(printf '%s\n' a b c)
split -l 1000 pairs piece.; ls piece.* | wc -l; cat piece.* | cmp - pairs && echo same
tac pairs | tac | md5sum | cut -c1-12; shuf -i 1-100 --random-source=<(yes) | sort -n | sha1sum | cut -c1-12
tr a-z A-Z <<<"here string" | rev; fold -w 7 <<<"the quick brown fox" | nl -ba | expand | head -2
printf '%s\0' a b 'c d' | xargs -0 -n1 printf '<%s>'; echo
find . -name 'piece.*' -size +1k -exec basename {} \; | sort | xargs
for f in piece.*; do (wc -l <"$f" >"$f.n") & done; wait; cat piece.*.n | paste -sd+ | bc 2>/dev/null || cat piece.*.n | paste -sd+ | { read -r e; echo $((e)); }
declare -A n; while read -r k _; do n[$k]=$((${n[$k]:-0} + 1)); done <pairs; echo "${#n[@]} ${n[5]}"
mkdir -p d/e/f; echo deep >d/e/f/g; cp -r d copy; diff -r d copy && echo equal; ln d/e/f/g hard; stat -c '%h' hard; mv copy d/; du -a d | wc -l
tar cf - d 2>/dev/null | tar tf - | wc -l; chmod 640 hard; stat -c '%a %s' hard; touch -d '2001-02-03 04:05:06 UTC' hard; date -u -r hard +%s
dd if=pairs bs=100 skip=3 count=2 status=none | od -An -c | head -2; head -c 20 /dev/zero | tr '\0' x; echo
trap 'echo cleanup' EXIT; (trap 'echo inner; exit 3' TERM; kill -TERM $BASHPID; sleep 1) || echo "status $?"
exec 5<>fifo.txt; echo line >&5; exec 5>&-; cat fifo.txt; printf -v x '%(%Y)T' 0; echo "$x"
timeout 0.2 sleep 5 || echo "timed out $?"; { echo out; echo err >&2; } 2>&1 >/dev/null | sed 's/^/got /'
cd /; rm -rf "$T"
