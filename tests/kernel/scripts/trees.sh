# SPDX-License-Identifier: MIT
# Directories: making, walking, moving and removing trees of them.
mkdir -p a/b/c/d a/x/y
for i in 1 2 3; do echo $i > a/b/f$i; echo $i > a/x/y/g$i; done
find a | sort
find a -type f -name 'f*' | sort | xargs cat | tr '\n' ' '; echo
find a -type d | wc -l
cd a/b/c/d; pwd | sed 's/.*\/a\//a\//'; cd ../..; ls; cd ../..
cp -r a copy; diff -r a copy && echo same; echo changed > copy/b/f2; diff -rq a copy
mv copy/x copy/moved; ls copy; mv copy/moved/y/g1 copy/b/c; ls copy/b/c
mv a/b a/b/c 2>/dev/null || echo "not into itself"
mkdir t; for i in $(seq 1 300); do : > t/file$i; done; ls t | wc -l
rm -r t; ls -d t 2>/dev/null || echo "t is gone"
ln -s a/b link; ls link | head -n 2
cd link; pwd -P | sed 's/.*\/a\//a\//'; cd - > /dev/null
ln -s loop1 loop2; ln -s loop2 loop1; cat loop1 2>&1 | sed 's/.*: //'
rmdir a 2>&1 | sed 's/.*: //'
echo a/*/ a/b/f?; echo a/nothing*
tar cf archive a; rm -r a; tar xf archive; find a | sort | md5sum
du -a a 2>/dev/null | wc -l
mkdir gone; cd gone; rmdir ../gone
(: > x) 2>/dev/null || echo "no new names in a removed directory"; cd ..
touch "with space" '-dash'; ls -1 | grep -c '[ -]'; rm -- '-dash' 'with space'
rm -rf a copy link loop1 loop2 archive; ls -A | wc -l
