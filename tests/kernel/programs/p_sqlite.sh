# Databases in mapped files: a journal, a writer that is killed in the middle, and what is left.
set -eu
T=$(mktemp -d); cd "$T"
sqlite3 a.db <<'Q'
PRAGMA mmap_size=67108864; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE account(id INTEGER PRIMARY KEY, owner TEXT, amount INTEGER); CREATE TABLE log(id INTEGER PRIMARY KEY, note TEXT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<5000) INSERT INTO account SELECT x, 'owner' || (x % 37), 100 FROM c;
CREATE INDEX byowner ON account(owner); SELECT count(*), sum(amount) FROM account;
Q
# Moves amounts around until it is killed; the sum must stay what it is.
moves() {
    while :; do
        echo "BEGIN; UPDATE account SET amount=amount-1 WHERE id%3=0; UPDATE account SET amount=amount+1 WHERE id%3=1 AND id<5000; INSERT INTO log(note) VALUES('moved'); COMMIT;"
    done 2>/dev/null
}
sqlite3 -cmd '.timeout 5000' -cmd 'PRAGMA mmap_size=67108864' a.db >/dev/null 2>&1 < <(moves) &
writer=$!
n=0
while [ "$n" -lt 2 ]; do n=$(sqlite3 -cmd '.timeout 5000' a.db 'SELECT count(*) FROM log'); done
kill -9 $writer; wait $writer 2>/dev/null || echo "killed $?"
sqlite3 -cmd '.timeout 5000' a.db "PRAGMA mmap_size=67108864; PRAGMA integrity_check; SELECT count(*), count(DISTINCT owner), (SELECT sum(amount) FROM account WHERE id%3=2) FROM account; SELECT (SELECT sum(amount) FROM account WHERE id%3=0) = 166600 - 1666 * (SELECT count(*) FROM log);"
sqlite3 a.db "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; VACUUM; PRAGMA integrity_check;"
sqlite3 a.db ".dump account" | sqlite3 b.db; sqlite3 b.db "ATTACH 'a.db' AS a; SELECT count(*) FROM account JOIN a.account x USING(id) WHERE x.amount=account.amount; SELECT owner, count(*) FROM account GROUP BY owner ORDER BY 2 DESC, 1 LIMIT 3;"
# A rollback journal that is hot: the writer dies between the journal and the file.
sqlite3 c.db "CREATE TABLE t(x); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<3000) INSERT INTO t SELECT zeroblob(500) FROM c;"
sqlite3 c.db "PRAGMA cache_size=5; BEGIN; UPDATE t SET x=randomblob(500); SELECT 'dirty';" ".shell kill -9 \$PPID" 2>/dev/null || true
sqlite3 c.db "PRAGMA integrity_check; SELECT count(*), sum(x=zeroblob(500)) FROM t;"
sqlite3 :memory: "CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES('the quick fox'),('lazy dog'); SELECT t FROM f WHERE f MATCH 'quick'; SELECT json_extract('{\"a\":[1,2]}', '\$.a[1]'), date(0, 'unixepoch'), printf('%.3f', sqrt(2));"
cd /; rm -rf "$T"
