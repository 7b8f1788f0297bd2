# SPDX-License-Identifier: MIT
# File tests and what stat shows.
mkdir d; echo text > f; : > empty; ln -s f link; ln -s nowhere dangling; ln f hard
t() { if test "$@"; then echo "yes: $*"; else echo "no: $*"; fi; }
t -f f; t -d f; t -d d; t -e missing; t -s f; t -s empty
t -L link; t -f link; t -L dangling; t -e dangling; t -h f
t -r f; t -w f; t -x f; chmod +x f; t -x f; chmod 644 f
t f -ef hard; t f -ef empty
t -c /dev/null; t -p f; t -t 99
stat -c '%n %s %F %h' f empty link; stat -c '%n %F %h' d
stat -L -c '%s %F' link
stat -c '%a' f; chmod 600 f; stat -c '%a %A' f
umask 027; : > masked; stat -c '%a' masked; umask 022
readlink link; readlink -f link | sed 's/.*\///'
touch -d '2020-01-02 03:04:05' f; stat -c '%y' f | cut -c1-19
touch newer; t newer -nt f; t f -ot newer
cat dangling 2>/dev/null || echo "dangling: $?"
cat missing 2>&1 | sed 's/.*: //'
cat d 2>&1 | sed 's/.*: //'
ls nowhere 2>&1 | sed 's/.*: //'
rmdir f 2>&1 | sed 's/.*: //'
rm d 2>&1 | sed 's/.*: //'
mkdir d 2>&1 | sed 's/.*: //'
echo x > d 2>/dev/null || echo "cannot write a directory"
cd f 2>/dev/null || echo "cannot enter a file"
ls -1
rm -rf d f empty link dangling hard masked newer; ls -1 | wc -l
