# SPDX-License-Identifier: MIT
# Background jobs and wait: in every order, with every status.
pids=
for i in 1 2 3 4 5; do
    (exit $((i * 10))) &
    pids="$pids $!"
done
for p in $pids; do wait $p; echo "status $?"; done
(sleep 0.2; echo slow > slow) & s=$!
(echo quick > quick) & q=$!
wait $q; cat quick
wait $s; cat slow
rm quick slow
wait; echo "none left: $?"
wait 999999; echo "not a child: $?"
for i in 1 2 3 4 5 6 7 8 9 10; do (echo $i >> all) & done; wait
sort -n all | tr '\n' ' '; echo; rm all
{ sleep 0.1; echo group; } & wait $!; echo "group $?"
(true & wait $!; echo "inner $?") & wait $!
sleep 0.1 & sleep 0.1 & sleep 0.1 & wait; echo slept
i=0; while [ $i -lt 50 ]; do : & i=$((i + 1)); done; wait; echo "fifty"
echo x | (sleep 0.1; cat) & wait $!; echo "piped $?"
