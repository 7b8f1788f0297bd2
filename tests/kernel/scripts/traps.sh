# SPDX-License-Identifier: MIT
# Traps, kill, and the status that a signal leaves.
trap 'echo usr1' USR1
trap 'echo usr2' USR2
kill -USR1 $$
kill -USR2 $$
kill -USR1 $$; kill -USR1 $$
trap '' TERM
kill -TERM $$; echo "still here"
trap - TERM
sleep 10 & p=$!
kill $p; wait $p; echo "sleep: $?"
(kill -9 $(sh -c 'echo $PPID')); echo "subshell: $?"
sh -c 'kill -TERM $$'; echo "term: $?"
sh -c 'kill -PIPE $$'; echo "pipe: $?"
sh -c 'trap "echo got int; exit 5" INT; kill -INT $$; echo not reached'; echo "int: $?"
sh -c 'trap "echo leaving" EXIT; exit 3'; echo "exit: $?"
(trap 'echo sub leaving' EXIT; true)
sleep 5 & p=$!
(sleep 0.1; kill -USR1 $$) &
wait $p; echo "wait interrupted: $?"
kill $p
wait 2>/dev/null
kill -0 $$ && echo alive
kill -0 999999 2>/dev/null || echo "nobody"
trap 'echo bye' EXIT
