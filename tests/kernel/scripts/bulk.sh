# SPDX-License-Identifier: MIT
# Large data through pipes and files, checked by its sums.
dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum
seq 1 100000 | md5sum
seq 1 100000 > f; md5sum < f; wc < f; cat f f f f | sha1sum
sort -rn f | head -n 2; tail -c 20 f
seq 1 100000 | gzip | gunzip | md5sum
head -c 1000000 f 2>/dev/null | wc -c
seq 1 50000 | (head -n 1 > /dev/null; cat > /dev/null); echo "reader done"
yes 0123456789 | head -c 300000 | od -An -c | head -n 2
seq 1 3000 | tr '\n' ' ' | fold -w 70 | tail -n 1
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%d ", i * i % 97 }' | md5sum
cp f g; sed -i 's/9/nine/g' g; md5sum < g; grep -c nine g
dd if=f bs=1000 skip=100 count=1 2>/dev/null | md5sum
dd if=/dev/urandom bs=4096 count=16 2>/dev/null | wc -c
cat f | tac | tail -n 1
rm f g
