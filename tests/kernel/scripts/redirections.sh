# SPDX-License-Identifier: MIT
# Redirections: truncating, appending, duplicating, closing, both ways at once.
echo one > a; echo two >> a; cat a; echo three > a; cat < a
exec 3> b; echo to three >&3; echo more >&3; exec 3>&-; cat b
(echo lost >&3) 2>/dev/null || echo "three is closed"
exec 4< b; read -r line <&4; echo "first $line"; read -r line <&4; echo "second $line"; exec 4<&-
{ echo out; echo err >&2; } > both 2>&1; sort both
{ echo out; echo err >&2; } 2> err > out; cat out; cat err
ls missing > both 2>&1 || echo "ls failed"; wc -l < both
exec 5<> rw; echo abcdef >&5; exec 5>&-; cat rw
(exec > inner; echo hidden); cat inner
set -C; echo x > a 2>/dev/null || echo "noclobber"; echo y >| a; cat a; set +C
echo swap 3>&1 1>&2 2>&3 3>&- 2>/dev/null | wc -l
for i in 1 2 3; do echo $i; done > loop; wc -l < loop
while read -r n; do echo "<$n>"; done < loop
cat /dev/null | wc -c; head -c 10 /dev/zero | wc -c; echo gone > /dev/null
echo full > /dev/full 2>/dev/null || echo "device full"
cat a b | cat - loop | wc -l
truncate -s 5000 sparse; wc -c < sparse; tr -d '\0' < sparse | wc -c
dd if=b of=copy bs=1 skip=3 count=5 2>/dev/null; cat copy; echo
dd if=loop of=copy conv=notrunc bs=1 count=1 2>/dev/null; cat copy; echo
cat < missing 2>/dev/null || echo "no such input"
rm -f a b both err out rw inner loop sparse copy; ls | wc -l
