# SPDX-License-Identifier: MIT
# Process groups and sessions: a signal to a group reaches all of it and nobody else.
setsid sh -c '
    trap "echo leader got it; exit 4" TERM
    (trap "echo first got it; exit 0" TERM; : > ready1; while :; do sleep 0.05; done) > one &
    (trap "echo second got it; exit 0" TERM; : > ready2; while :; do sleep 0.05; done) > two &
    while [ ! -e ready1 ] || [ ! -e ready2 ]; do sleep 0.02; done
    kill -TERM 0
    wait
'
echo "status $?"
sleep 0.3
cat one two; rm -f one two ready1 ready2
sleep 3 & a=$!
sleep 3 & b=$!
kill -TERM $a; kill -HUP $b
wait $a; echo "a $?"; wait $b; echo "b $?"
sh -c 'kill -STOP $$; echo continued' & p=$!
sleep 0.2; kill -CONT $p; wait $p; echo "stopped and continued: $?"
timeout 0.2 sleep 5; echo "timeout $?"
timeout 5 true; echo "in time $?"
kill -l | tr ' ' '\n' | head -n 3 | wc -l
