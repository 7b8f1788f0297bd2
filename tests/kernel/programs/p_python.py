# The standard library: what it imports are some hundred files and shared objects.
import sys, json, re, hashlib, zlib, bz2, base64, collections, itertools, functools, datetime, decimal
import fractions, random, math, struct, pickle, io, csv, tempfile, os, shutil, glob, textwrap, heapq, bisect
import sqlite3, array, string, uuid, ctypes, unicodedata, difflib, configparser, xml.etree.ElementTree as ET
print(sys.version_info[:2], json.dumps({"a": [1, 2.5, None, True], "b": "\u00e4"}, sort_keys=True))
print(re.sub(r"(\w+) (\w+)", r"\2 \1", "hello world"), re.findall(r"\d+", "a1b22c333"))
data = bytes(range(256)) * 400
print(hashlib.sha256(data).hexdigest()[:16], hashlib.md5(data).hexdigest()[:16], zlib.crc32(data), len(zlib.compress(data)), bz2.decompress(bz2.compress(data)) == data)
print(base64.b64encode(b"quire").decode(), collections.Counter("mississippi").most_common(2), list(itertools.islice(itertools.permutations("abc"), 3)))
print(functools.reduce(lambda a, b: a * b, range(1, 30)), math.comb(50, 25), decimal.Decimal(1) / decimal.Decimal(7), fractions.Fraction(3, 4) + fractions.Fraction(5, 6))
print(datetime.datetime(2020, 2, 29, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=366), random.Random(7).sample(range(1000), 4))
print(struct.pack("<IhQ", 1, -2, 3).hex(), pickle.loads(pickle.dumps({1: (2, [3])})), array.array("d", [1, 2, 3]).tobytes().hex()[:20])
with tempfile.TemporaryDirectory() as d:
    for i in range(50):
        with open(os.path.join(d, f"f{i}.txt"), "w") as f: csv.writer(f).writerows([[i, j, i * j] for j in range(20)])
    print(len(glob.glob(d + "/*.txt")), sum(int(r[2]) for n in sorted(os.listdir(d)) for r in csv.reader(open(os.path.join(d, n)))))
    shutil.copytree(d, d + "/copy"); print(len(os.listdir(d + "/copy")), sum(len(f) for _, _, f in os.walk(d)))
    db = sqlite3.connect(d + "/x.db"); db.execute("create table t(a, b)"); db.executemany("insert into t values(?, ?)", ((i, i * i) for i in range(1000))); db.commit()
    print(db.execute("select count(*), sum(b), max(a) from t where a % 3 = 0").fetchone())
print(heapq.nsmallest(3, [5, 1, 4, 2]), bisect.bisect([1, 3, 5], 4), textwrap.shorten("a long line of words", 12), uuid.uuid5(uuid.NAMESPACE_DNS, "a"), string.Template("$x").substitute(x=1))
print(ctypes.CDLL(None).abs(-5), ctypes.sizeof(ctypes.c_void_p), unicodedata.name("\u00e9"), "".join(difflib.ndiff(["a\n"], ["b\n"])).split())
print(ET.fromstring("<a><b c='1'/><b c='2'/></a>").findall("b")[1].attrib, sum(x * x for x in range(200000)), sys.getrefcount(None) > 10)
try: [0] * (1 << 50)
except MemoryError: print("no memory")
exec(compile("def f(n): return 1 if n == 0 else n * f(n - 1)\nprint(f(20))", "x", "exec"))
