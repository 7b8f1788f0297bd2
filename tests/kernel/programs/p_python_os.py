# fork, mmap and subprocess from python.
import mmap, os, signal, subprocess, sys, tempfile, time, fcntl
a = mmap.mmap(-1, 1 << 16)  # shared with children
private = bytearray(b"p" * 100000)
kids = []
for k in range(6):
    pid = os.fork()
    if pid == 0:
        for i in range(k, len(a), 6): a[i] = k + 1
        private[k] = 0
        os._exit(private.count(0) * 10 + k)
    kids.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in kids], list(a[:6]), sum(a[:]), private.count(0))
with tempfile.NamedTemporaryFile() as f:
    f.write(b"file contents\n" * 1000); f.flush()
    shared = mmap.mmap(f.fileno(), 0); copy = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)
    shared[:4] = b"FILE"; copy[5:9] = b"COPY"
    print(os.pread(f.fileno(), 14, 0), copy[:14], subprocess.check_output(["head", "-c", "9", f.name]))
    subprocess.run(["dd", "if=/dev/zero", "of=" + f.name, "bs=1", "count=4", "conv=notrunc", "status=none"], check=True)
    print(shared[:14], copy[:14]); os.ftruncate(f.fileno(), 5000)
    if os.fork() == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL); shared[8192]; os._exit(0)
    print(os.WTERMSIG(os.wait()[1]) == signal.SIGBUS, shared[4096], shared[4999:5002])
    os.ftruncate(f.fileno(), 14000); print(shared[4999:5002], copy[5:9])
    r = mmap.mmap(os.open(f.name, os.O_RDONLY), 0, prot=mmap.PROT_READ)
    try: r[0] = 1
    except TypeError: print("read only")
m = os.memfd_create("x"); os.write(m, b"memfd"); w = mmap.mmap(m, 4096 if os.ftruncate(m, 4096) is None else 0); w[:5] = b"MEMFD"; print(os.pread(m, 5, 0))
out = subprocess.run("for i in 1 2 3; do echo $i; done | sort -rn; exit 4", shell=True, capture_output=True, text=True); print(out.stdout.split(), out.returncode)
p = subprocess.Popen(["sort"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True); print(p.communicate("\n".join(str(i * 7 % 10) for i in range(10)))[0].split())
try: subprocess.run(["sleep", "10"], timeout=0.3)
except subprocess.TimeoutExpired: print("timeout")
print(subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]).returncode, subprocess.getoutput("echo $((6*7))"))
r, w = os.pipe(); got = []
signal.signal(signal.SIGUSR1, lambda s, f: got.append(s)); os.kill(os.getpid(), signal.SIGUSR1); print(got == [signal.SIGUSR1])
signal.setitimer(signal.ITIMER_REAL, 0.1); signal.signal(signal.SIGALRM, lambda s, f: got.append(s)); time.sleep(0.4); print(len(got))
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], os.environ); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
with open("/proc/self/maps") as f: t = f.read()
print("libc.so.6" in t, "[stack]" in t, "[heap]" in t, "rwxp" in t, os.path.basename(os.readlink("/proc/self/exe")))
print(len(os.listdir("/proc/self/fd")) > 3, os.sysconf("SC_PAGESIZE"), os.statvfs("/").f_bsize)
