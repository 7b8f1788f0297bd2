# SPDX-License-Identifier: MIT
# exec, scripts with interpreters, and how a shell says that it could not.
(exec echo replaced; echo not reached)
sh -c 'exec sh -c "exec echo three deep"'
printf '#!/bin/sh\necho "script $0 $*" | sed "s/.*\\///"\n' > script;
chmod +x script; ./script a 'b c'
printf 'echo no interpreter line $1\n' > plain; chmod +x plain; ./plain x
printf '#!/nowhere/sh\n' > bad; chmod +x bad; ./bad 2>/dev/null; echo "bad interpreter $?"
echo data > data; ./data 2>/dev/null; echo "not executable $?"
./missing 2>/dev/null; echo "missing $?"
missing-command 2>/dev/null; echo "not found $?"
. ./plain sourced
env -i A=1 B='2 3' sh -c 'echo "$A $B ${HOME-none}"'
A=only sh -c 'echo $A'; echo "${A-unset}"
sh -c 'echo $# $1 $2' name one two
sh -c 'exit 300'; echo $?
echo 'echo from stdin; exit 4' | sh; echo $?
set -- a b c; shift; echo "$*"
args=$(seq 1 3000); sh -c 'echo $#' name $args
nohup echo hup 2>/dev/null
xargs sh -c 'echo "$#"' name < /dev/null
rm -f script plain bad data nohup.out
