#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Page-ins of one program beside Linux's, with the same memory and the same swap.

    vslinux.py BUILD [PROGRAM [PERCENT ...]]

Boots Debian's unmodified kernel and the demonstration kernel in the same emulated machine (QEMU,
tcg, one CPU), from the same tree of files on a virtio disk, with a second disk to page to and /tmp
in memory.  PROGRAM (s_sqlite) is one of tests/kernel/swap/list.txt.

    working set   what the program takes in all, files and memory, where nothing has to leave: the
                  least free memory of the demonstration kernel with 512 MiB, sampled
    PERCENT (75 50 25)  of that is free when the program begins: the demonstration kernel gets a
                  machine of that size, and on Linux a small program locks what is free or droppable
                  beyond what was free there
    page-ins      pages read from both disks while the program runs, with what was read ahead
    time          by the machine's clock; the emulator makes it a rough figure

Prints both, and figures for tools/bench.py.  What is missing (no package, no network) is said in a
line, and the status is 0: then there are no figures.
"""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOOLS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TOOLS)
SECONDS = 280  # of one boot
LINUX_MEMORY = "256M"
MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")

# What both run.  The shell reads the counts itself: a program for that would be paged too.
COUNT = """
count() {
    echo "@@@ $1 time ${EPOCHREALTIME/./}"
    while read -r name value; do
        case $name in pgpgin|pswpin|pswpout) echo "@@@ $1 $name $value";; esac
    done </proc/vmstat
    while read -r name value unit; do
        case $name in MemFree:|Buffers:|Cached:) echo "@@@ $1 $name $value";; esac
    done </proc/meminfo
}
"""
DRIVER = """#!/bin/bash
%s
cd "$1"
if [ "$2" = sample ]; then
    (while sleep 0.1; do count sample; done) &
fi
count before >/tmp/counts
$3 </dev/null >/tmp/out 2>/tmp/errors
status=$?
count after >>/tmp/counts
cat /tmp/counts /tmp/out
echo "@@@ status $status"
cat /tmp/errors
""" % COUNT

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
%s
mount -t ext4 -o ro /dev/vda /mnt
mkswap /dev/vdb >/dev/null
swapon /dev/vdb
mount -t proc proc /mnt/proc
mount -t devtmpfs dev /mnt/dev
mount -t tmpfs tmpfs /mnt/tmp
cp -r /tests /mnt/tmp/tests
/hold %d
chroot /mnt /bin/bash /tmp/tests/driver /tmp/tests run "%s"
sync
reboot -f
"""

# Locks memory until no more than argv[1] KiB are free or can be dropped, and stays.
HOLD = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static long spare(void)
{
    char line[128];
    long sum = 0, n;
    FILE *f = fopen("/proc/meminfo", "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemFree: %ld", &n) == 1 || sscanf(line, "Buffers: %ld", &n) == 1 ||
            sscanf(line, "Cached: %ld", &n) == 1)
            sum += n;
        else if (sscanf(line, "Shmem: %ld", &n) == 1)
            sum -= n;
    fclose(f);
    return sum;
}
int main(int argc, char **argv)
{
    long target = atol(argv[1]), over;
    int ready[2];
    char c;
    (void)argc;
    if (pipe(ready))
        return 1;
    if (fork() != 0)
        return read(ready[0], &c, 1) != 1;
    while ((over = spare() - target) > 64) {
        size_t bytes = (size_t)(over > 8192 ? over / 2 : over > 256 ? over / 4 : 64) << 10;
        if (mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0) == MAP_FAILED)
            break;
    }
    printf("@@@ spare KiB %ld\n", spare());
    fflush(stdout);
    (void)!write(ready[1], "r", 1);
    close(0);
    pause();
    return 0;
}
"""


class Missing(Exception):
    """A piece without which nothing can be compared."""


def call(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          **more)
    if done.returncode:
        raise Missing(f"{command[0]}: {done.stdout.decode(errors='replace').strip()[-200:]}")
    return done.stdout.decode(errors="replace")


def kernel_tests():
    path = os.path.join(ROOT, "tests", "kernel", "run.py")
    spec = importlib.util.spec_from_file_location("kernel_tests", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- Linux -------------------------------------------------------------------------------------


def linux_unpack(folder):
    """Debian's kernel, out of its package; the paths of the kernel and of its modules."""
    depends = call(["apt-cache", "depends", "linux-image-amd64"])
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    if not package:
        raise Missing("the package linux-image-amd64 is not known")
    unpacked = os.path.join(folder, package.group(1))
    if not os.path.isdir(unpacked):
        print(f"  fetching the package {package.group(1)}", flush=True)
        call(["apt-get", "download", package.group(1)], cwd=folder)
        for name in os.listdir(folder):
            if name.startswith(package.group(1) + "_"):
                call(["dpkg-deb", "-x", os.path.join(folder, name), unpacked])
                os.unlink(os.path.join(folder, name))
    if not os.path.isdir(unpacked):
        raise Missing(f"the package {package.group(1)} could not be fetched")
    release = os.listdir(os.path.join(unpacked, "lib", "modules"))[0]
    return (os.path.join(unpacked, "boot", "vmlinuz-" + release),
            os.path.join(unpacked, "lib", "modules", release))


def modules_of(folder):
    """Files of the modules that are needed, each behind those that it needs itself."""
    where = {}
    for base, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".ko"):
                where[name[:-3].replace("-", "_")] = os.path.join(base, name)
    order = []

    def add(name):
        name = name.replace("-", "_")
        if name in order or name not in where:
            return
        with open(where[name], "rb") as module:
            needs = re.search(rb"\0depends=([^\0]*)\0", module.read())
        for need in filter(None, needs.group(1).decode().split(",") if needs else ()):
            add(need)
        order.append(name)

    for name in MODULES:
        add(name)
    return [where[name] for name in order]


def archive_make(tree, path):
    with open(path, "wb") as out:
        find = subprocess.Popen(["find", ".", "-print0"], cwd=tree, stdout=subprocess.PIPE)
        subprocess.run(["cpio", "-o", "-0", "-H", "newc", "--quiet"], cwd=tree, stdin=find.stdout,
                       stdout=out, check=True)
        find.wait()


def linux_disk(build, folder):
    """The tree of files of the demonstration kernel, as a file system that Linux can read."""
    image = os.path.join(folder, "root.ext4")
    archive = os.path.join(build, "debian.cpio")
    if os.path.exists(image) and os.path.getmtime(image) > os.path.getmtime(archive):
        return image
    with tempfile.TemporaryDirectory(dir=folder) as tree, open(archive, "rb") as source:
        subprocess.run(["cpio", "-i", "-d", "-m", "--quiet", "--no-absolute-filenames"], cwd=tree,
                       stdin=source, check=True, stderr=subprocess.DEVNULL)
        for name in ("proc", "dev", "tmp"):
            os.makedirs(os.path.join(tree, name), exist_ok=True)
        call(["mkfs.ext4", "-q", "-F", "-d", tree, image + ".new", "640M"])
    os.rename(image + ".new", image)
    return image


def linux_run(tests, build, folder, files, command, spare):
    """The console of Linux while it runs the command with so many KiB to spare."""
    kernel, modules = linux_unpack(folder)
    disk = linux_disk(build, folder)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        tree = os.path.join(work, "tree")
        for name in ("bin", "proc", "dev", "mnt", "modules", "tests"):
            os.makedirs(os.path.join(tree, name))
        shutil.copy(tests.busybox(), os.path.join(tree, "bin", "busybox"))
        source = os.path.join(work, "hold.c")
        with open(source, "w", encoding="ascii") as out:
            out.write(HOLD)
        call(["gcc", "-O2", "-static", "-o", os.path.join(tree, "hold"), source])
        lines = []
        for module in modules_of(modules):
            shutil.copy(module, os.path.join(tree, "modules"))
            lines.append("insmod /modules/" + os.path.basename(module))
        for path in files:
            shutil.copy(path, os.path.join(tree, "tests"))
        with open(os.path.join(tree, "tests", "driver"), "w", encoding="ascii") as out:
            out.write(DRIVER)
        init = os.path.join(tree, "init")
        with open(init, "w", encoding="ascii") as out:
            out.write(INIT % ("\n".join(lines), spare, command))
        os.chmod(init, 0o755)
        archive_make(tree, os.path.join(work, "initrd"))
        swap = os.path.join(work, "swap")
        with open(swap, "wb") as out:
            out.truncate(512 << 20)
        machine = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max,-la57,-avx",
                   "-m", LINUX_MEMORY, "-smp", "1", "-nodefaults", "-no-user-config",
                   "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
                   "-initrd", os.path.join(work, "initrd"), "-append", "console=ttyS0 quiet",
                   "-drive", f"if=none,id=root,file={disk},format=raw,readonly=on",
                   "-device", "virtio-blk-pci,drive=root",
                   "-drive", f"if=none,id=swap,file={swap},format=raw",
                   "-device", "virtio-blk-pci,drive=swap"]
        done = subprocess.run(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
    return done.stdout.replace(b"\r", b"").decode(errors="replace")


# ---- the demonstration kernel ------------------------------------------------------------------


def quire_run(tests, build, work, files, command, memory, mode):
    """The same of the demonstration kernel, on a machine of so many MiB."""
    driver, start = os.path.join(work, "driver"), os.path.join(work, "swap")
    with open(driver, "w", encoding="ascii") as out:
        out.write(DRIVER)
    with open(start, "w", encoding="ascii") as out:
        out.write(f"#!/bin/bash\nbash /tests/driver /tests {mode} \"{command}\"\n")
    os.chmod(start, 0o755)
    over, archive = os.path.join(work, "over"), os.path.join(work, "archive")
    extra = [f"{path}:/tests/{os.path.basename(path)}" for path in files]
    tests.image(build, over, [*extra, f"{driver}:/tests/driver", start], ["-o"])
    with open(archive, "wb") as out:
        for part in (os.path.join(build, "debian.cpio"), over):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, out)
    tests.MEMORY["swap"] = f"{memory}M"
    process, port = tests.server_start(work)
    try:
        console, _ = tests.boot(build, "swap", archive, "run=swap", tests.page_file(port))
    finally:
        process.kill()
        process.wait()
    return console.replace(b"\r", b"").decode(errors="replace")


# ---- both --------------------------------------------------------------------------------------


def counts(console, when):
    """What the driver counted then; for samples, the least."""
    found = {}
    for name, value in re.findall(rf"^@@@ {when} (\w+):? (\d+)$", console, re.M):
        found[name] = min(int(value), found.get(name, int(value)))
    return found


def judge(console, wanted, who):
    """What happened between the two counts of a run that came to its right end."""
    if "@@@ status 0" not in console or wanted not in console:
        print(console[-2000:])
        raise Missing(f"{who} did not run the program to its right end")
    before, after = counts(console, "before"), counts(console, "after")
    if before.keys() != after.keys():
        raise Missing(f"{who} lost a count")
    return {name: after[name] - before[name] for name in after}


def say(who, pages, run):
    print(f"    {who}: {pages} pages read, {run['pswpin']} of them of what it had paged out, "
          f"{run['pswpout']} paged out; {run['time'] / 1e6:.1f} s")


class Comparison:
    """One program, and what both kernels need to run it."""

    def __init__(self, build, program):
        self.build, self.program = build, program
        self.tests = kernel_tests()
        folder = os.path.join(ROOT, "tests", "kernel", "swap")
        with open(os.path.join(folder, "list.txt"), encoding="ascii") as lines:
            self.command = dict(line.rstrip("\n").split("\t", 1) for line in lines)[program]
        if not os.path.exists(os.path.join(folder, program + ".out")):
            folder = os.path.join(os.path.dirname(folder), "ladder")
        with open(os.path.join(folder, program + ".out"), encoding="ascii") as out:
            self.wanted = out.read()
        self.files = [os.path.join(folder, self.command.split()[-1])]
        self.linux = os.path.join(build, "linux")
        os.makedirs(self.linux, exist_ok=True)

    def on_quire(self, memory, mode):
        with tempfile.TemporaryDirectory(dir=self.linux) as work:
            return quire_run(self.tests, self.build, work, self.files, self.command, memory, mode)

    def takes(self):
        """KiB of the program in all, and KiB of a small machine that it can not have."""
        console = self.on_quire(512, "sample")
        judge(console, self.wanted, "the demonstration kernel")
        free = counts(console, "before")["MemFree"]
        records = 4096  # of the frames of 512 MiB
        return free - counts(console, "sample")["MemFree"], 512 * 1024 - free - records

    def at(self, percent, whole, lost):
        memory = round((whole * percent / 100 + lost) / 1024)
        console = self.on_quire(memory, "run")
        run = judge(console, self.wanted, "the demonstration kernel")
        spare = counts(console, "before")["MemFree"]
        ours = run["pgpgin"] + run["pswpin"]
        print(f"  {percent} %: {spare} KiB are free when it begins, of {memory} MiB")
        say("quire", ours, run)
        console = linux_run(self.tests, self.build, self.linux, self.files, self.command,
                            spare)
        other = judge(console, self.wanted, "Linux")
        left = re.search(r"@@@ spare KiB (\d+)", console)
        if left is None or abs(int(left.group(1)) - spare) > 1024:
            raise Missing(f"Linux had not {spare} KiB to spare")
        theirs = other["pgpgin"] // 4  # KiB, what it had paged out among them
        say("Linux", theirs, other)
        print(f"bench paging.vs_linux.{percent}pct {ours / max(1, theirs):.3f} ratio")
        print(f"bench paging.vs_linux.time.{percent}pct {run['time'] / other['time']:.3f} ratio")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        comparison = Comparison(os.path.abspath(sys.argv[1]), (sys.argv[2:] or ["s_sqlite"])[0])
        whole, lost = comparison.takes()
        print(f"  {comparison.program}: takes {whole} KiB in all")
        for percent in sys.argv[3:] or ("75", "50", "25"):
            comparison.at(int(percent), whole, lost)
    except (Missing, OSError, subprocess.SubprocessError) as error:
        print(f"  paging.vs_linux: not measured: {str(error)[:300]}")
    return 0


sys.exit(main())
