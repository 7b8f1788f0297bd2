# Sort a file that is as large as the machine's memory; the file and the result are memory too.
export LC_ALL=C
seq 1 800000 | awk '{ printf "%014d %d\n", ($1 * 7919) % 800011, $1 }' >numbers
wc numbers
sort -S 24M numbers >sorted
cksum <sorted
sort -c sorted && head -n 2 sorted && tail -n 2 sorted
rm numbers sorted
