# A table and two indexes that are larger than the machine's memory leaves room for.
set -e
sqlite3 s.db <<'Q'
PRAGMA mmap_size=268435456;
PRAGMA cache_size=-8000;
CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, v BLOB);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<60000)
    INSERT INTO t SELECT x, printf('key%08d', (x*7919)%60013), zeroblob(300) FROM c;
CREATE INDEX tk ON t(k);
CREATE INDEX tkv ON t(k, id);
SELECT count(*), min(k), max(k), sum(length(v)) FROM t;
SELECT count(*) FROM t a JOIN t b ON a.k = b.k;
PRAGMA integrity_check;
Q
rm s.db
