# SPDX-License-Identifier: MIT
# Command substitution, nested, and what subshells may not change.
echo "$(echo a$(echo b$(echo c$(echo d$(echo e)))))"
x=$(x=inner; echo $x; exit 7); echo "x=$x status=$?"
v=1; (v=2; echo "in $v"); echo "out $v"
f() { echo "f $1"; [ "$1" -gt 0 ] && f $(($1 - 1)); }
f 5
deep() { if [ "$1" = 0 ]; then echo bottom; else echo "$(deep $(($1 - 1)))."; fi; }
deep 20
n=$(seq 1 10000 | wc -c); echo "bytes $n"
big=$(seq 1 20000); echo "${#big}"
child=$(echo "$big" | sed 's/1/2/g' | md5sum); echo "$child"
echo "${#big}"
set -- $(echo one two three); echo "$# $2"
echo $(for i in 1 2 3; do for j in a b; do echo $i$j; done; done)
echo "${undefined:-default} ${name:=set} $name ${name#s} ${name%t}"
case $(echo match) in m*h) echo yes ;; *) echo no ;; esac
