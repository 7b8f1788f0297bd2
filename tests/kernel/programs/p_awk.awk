# gawk alone: arrays, sorting, regular expressions, pipes to and from programs.
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }
BEGIN {
    print fib(18)
    for (i = 1; i <= 20000; i++) seen[(i * 7919) % 1009]++
    n = asorti(seen, order, "@ind_num_asc"); print n, order[1], order[n], seen[500]
    while (("seq 1 5 | sort -rn" | getline line) > 0) total = total line; close("seq 1 5 | sort -rn"); print total
    print "c\na\nb" | "sort"; close("sort")
    s = "the rain in spain"; print gensub(/ain/, "<&>", "g", s), toupper(substr(s, 5, 4)), index(s, "spain")
    print match("foo123bar", /[0-9]+/, m), m[0], split("a:b:c", parts, ":"), parts[3]
    printf "%8.3f|%-5d|%05d|%x|%c|%s\n", 3.14159, 42, 42, 255, 65, "end"
    print length(sprintf("%10000s", "")), strtonum("0x1f"), and(12, 10), or(12, 10), xor(12, 10), int(-3.7), 2 ** 40
    print strftime("%Y-%m-%d", 86400 * 365, 1)
    system("exit 3"); print "co" |& "tr a-z A-Z"; close("tr a-z A-Z", "to"); "tr a-z A-Z" |& getline x; print x
    PROCINFO["sorted_in"] = "@val_num_desc"; c["x"] = 3; c["y"] = 9; c["z"] = 5; for (k in c) printf "%s ", k; print ""
}
