# SPDX-License-Identifier: MIT
# Many forks, from shells small and large, and trees of them.
i=0
while [ $i -lt 150 ]; do
    (exit $((i % 128)))
    [ $? = $((i % 128)) ] || echo "wrong at $i"
    i=$((i + 1))
done
echo "forks $i"
big=$(seq 1 30000)
i=0; while [ $i -lt 40 ]; do (big="$big x"; exit 0); i=$((i + 1)); done; echo "big forks $i ${#big}"
i=0; while [ $i -lt 30 ]; do big="$big $(echo $i)"; i=$((i + 1)); done; echo "${#big}"
tree() {
    if [ $1 -gt 0 ]; then (tree $(($1 - 1))) & (tree $(($1 - 1))) & wait; fi
    echo leaf
}
tree 5 | wc -l
n=0; for f in /bin/true /bin/false; do busybox $(basename $f); n=$((n + $?)); done
echo "applets $n"
down() { [ $1 = 0 ] && echo deep || (down $(($1 - 1))); }
down 40
for i in $(seq 1 20); do busybox true || echo failed; done; echo execs
for i in $(seq 1 20); do
    (big=changed
     (big=again; [ "$big" = again ] || echo bad)
     [ "$big" = changed ] || echo bad)
done
echo "${#big}" | md5sum
