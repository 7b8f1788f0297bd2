# SPDX-License-Identifier: MIT
# Here-documents and quoting; ash writes them through a pipe, from a child when they are long.
name=world
cat <<END
hello $name
sum $((6 * 7))
nested $(echo inner | tr a-z A-Z)
END
cat <<'END'
no $name here `at all`
END
cat <<-END
	tabs go
		both of them
	END
sort <<END | head -n 1
pear
apple
END
long=$(seq 1 2000)
wc -l <<END
$long
END
while read -r a b; do echo "$b-$a"; done <<END
1 one
2 two
END
cat <<A; cat <<B
first
A
second
B
echo "quotes: 'single' \"double\" \$dollar \`tick\`" '$name' "$name"
printf '%s|' a 'b c' "d  e"; echo
