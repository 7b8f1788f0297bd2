# grep, sed, diff, find and their relatives over one text.
set -e
T=$(mktemp -d); cd $T
i=0; while [ $i -lt 300 ]; do echo "line $i: $(( (i * 37) % 101 )) $(printf '%x' $i) the cat sat on the mat"; i=$((i + 1)); done >t
grep -c ' 4[0-9] ' t; grep -n -m2 'f[0-9a]$' t || true; grep -Eo '[0-9]+: 1[0-9] ' t | head -3; grep -vc 'cat' t || true; grep -P '^line (\d)\1:' t | wc -l
sed -n '/line 10:/,/line 13:/p' t | sed 's/\(cat\).*\(mat\)/\2 \1/;y/abc/xyz/'; sed '1~2d' t | wc -l; sed -i 's/cat/dog/2;s/the/THE/g' t; head -1 t
sed = t | sed 'N;s/\n/\t/' | tail -1; sed -E ':a;s/^([0-9]+)([0-9]{3})/\1,\2/;ta' <<X
1234567890
X
cp t u; sed -i '50d;100s/$/ changed/' u; diff t u || true; diff -u t u | tail -n +3 | wc -l; cmp t u | cut -d, -f2 || true
find . -type f -newer t -o -name u | sort; find / -maxdepth 1 -name 'us*'; wc t; wc -L t; sort -t: -k2 -n t | tail -2; uniq -w 6 t | wc -l
tr -dc '0-9\n' <t | awk '{ s += $1 % 1000 } END { print s }'; expr "$(cat t)" : '.*' ; cksum t; sum t; b2sum t | cut -c1-16; base64 t | md5sum | cut -c1-8; od -c t | tail -2
printf 'b 2\na 1\nc 3\n' | sort >j; join j j | tr ' ' _
numfmt --to=iec 1048576; factor 1234567; seq -s, 5; seq 10 -3 1 | tr '\n' ' '; echo; printf '%05.2f|%-6s|%+d\n' 3.14159 ab 7; dirname /a/b/c; realpath -m /a/../b; readlink -f /bin/sh; tsort <<X
a b
b c
X
ls -l t | cut -c1-10; test -s t && echo full; [ t -nt u ] || echo older; env -i /usr/bin/printenv | wc -l; nice -n 5 echo niced; yes no | head -2; pr -t -2 -l 3 <<X
1
2
3
4
X
cd /; rm -r $T
