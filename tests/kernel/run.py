#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demonstration kernel's tests: boot it, run a suite on it, compare.

    run.py BUILD [SUITE ...]

BUILD holds kernel.elf, debian.cpio and user/usertests, user/twins.  Suites, each a boot of its own:

    scripts    the shell scripts of tests/kernel/scripts.  They are run here on Linux too, by the
               same busybox, and must print the same bytes and end with the same status
    ladder     real programs out of unmodified packages, in the order in which they need more:
               tests/kernel/ladder/list.txt names them and their commands.  Linux's output stands
               beside each; a rung is passed when ours is the same and the status 0
    programs   more of the same, in tests/kernel/programs
    swap       programs of tests/kernel/swap and of the ladder that want several times the memory
               that there is; the rest goes to a page file.  For each: pages out and in
    swap_errors  the same, with a page file of which one write in a hundred fails
    swap_nbd   the same, with a page file on a server (nbdkit) that is killed and comes back
    usertests  kernel/user/usertests.c, all that needs no page file
    pressure   its tests of running out, on a machine with little memory
    swap_tests   its tests of paging, with a page file
    swap_sigbus  the one of a page file that cannot be read
    demo       the demonstration that `make run` shows
    disks      a section over a disk, in memory and out; with reads and writes that QEMU fails
    console    an interactive shell: line editing, erase, end of file, Ctrl-C, Ctrl-Z, exit

"ladder:NAME,NAME" (or programs, swap) runs these rungs alone.  A boot is bounded by time.  The
kernel's console carries the results: each script's output stands between two marker lines, and its
end tells the status.
The last line is "N passed, N failed".
"""
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
EXIT_OK = 85  # isa-debug-exit makes 2n + 1 of the kernel's 42
BOOT_SECONDS = {"scripts": 240, "ladder": 280, "programs": 280, "usertests": 240, "pressure": 120,
                "demo": 60, "console": 60, "disks": 60, "swap": 500, "swap_errors": 500,
                "swap_nbd": 500, "swap_tests": 120, "swap_sigbus": 60}
MEMORY = {"pressure": "48M", "ladder": "512M", "programs": "512M", "swap": "32M",
          "swap_errors": "32M", "swap_nbd": "32M", "swap_tests": "48M",
          "swap_sigbus": "48M"}  # and 256M for the others
# What the server of a suite's page file does wrong, as nbdkit's filter "error" has it.
ERRORS = {"swap_errors": "error-pwrite-rate=1%", "swap_sigbus": "error-pread-rate=100%"}
# The suites of kernel/user/usertests.c, and which of its tests they ask for.
ASKED = {"usertests": "", "swap_tests": ",paging_", "swap_sigbus": ",reading_fails",
         "pressure": ",out_of_memory,full_disk,fork,cow,copyout"}
# Suites whose scripts race a `sleep` against other work.
COUNTED = {"ladder", "programs"}
# Rungs that need what is not there yet: threads, sockets.
LATER = {"d3_threads", "d4_mp", "f_redis"}
MARK = "@@@"

# What runs on the kernel: every script in a directory of its own, its output to a file (programs
# behave differently on a terminal), its errors thrown away.
DRIVER = """#!/bin/sh
for script in /tests/*.sh; do
    name=$(basename "$script" .sh)
    mkdir "/tmp/$name"
    cd "/tmp/$name"
    echo "%s begin $name"
    sh "$script" </dev/null >"/tmp/$name.out" 2>/dev/null
    status=$?
    cat "/tmp/$name.out"
    echo "%s end $name $status"
    cd /
    grep -q '^audit: 0 findings' /proc/quire/audit || echo "%s audit $name"
    rm -rf "/tmp/$name" "/tmp/$name.out"
done
""" % (MARK, MARK, MARK)

# The same for commands out of a list: their errors go to the console, behind their output.
LIST_DRIVER = """#!/bin/bash
set -f
cd /tests
while IFS=$'\\t ' read -r name command; do
    before=$(grep pswp /proc/vmstat)
    echo "%s begin $name"
    $command </dev/null >/tmp/out 2>/tmp/errors
    status=$?
    cat /tmp/out
    echo "%s end $name $status"
    cat /tmp/errors
    echo "%s paging $name" $before $(grep pswp /proc/vmstat)
    grep -q '^audit: 0 findings' /proc/quire/audit || echo "%s audit $name"
done <list
awk '$4 > 0' /proc/quire/syscalls
cat /proc/vmstat
""" % (MARK, MARK, MARK, MARK)


def busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.access(path, os.X_OK):
            return path
    sys.exit("run.py: needs the package busybox-static")


class Results:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def say(self, name, problem=None):
        if problem is None:
            self.passed += 1
            print(f"{name}: ok")
        else:
            self.failed += 1
            print(f"{name}: FAILED: {problem}")
        sys.stdout.flush()


def disk(name, path):
    """QEMU's options for a disk of this content, which can only be read."""
    return ["-drive", f"if=none,id={name},file={path},format=raw,readonly=on",
            "-device", f"virtio-blk-pci,drive={name}"]


def command_line(build, suite, archive, words, more=()):
    """A machine whose time is what it has executed does not notice how busy this one is."""
    count = ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]
    return ["qemu-system-x86_64"] + (count if suite in COUNTED else []) + [
        "-M", "q35", "-accel", "tcg", "-cpu", "max,-la57,-avx",
        "-m", MEMORY.get(suite, "256M"), "-smp", "1", "-nodefaults", "-no-user-config",
        "-display", "none", "-serial", "stdio", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
        "-kernel", os.path.join(build, "kernel.elf"), *disk("root", archive), *more,
        "-append", words]


def boot(build, suite, archive, words, more=()):
    """Boot once; the console's text, QEMU's status (None: out of time)."""
    process = subprocess.Popen(command_line(build, suite, archive, words, more),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=BOOT_SECONDS[suite])
        status = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        status = None
    return output.replace(b"\r\n", b"\n"), status


def image(build, path, extra, options=()):
    """Build the archive for a suite, with `extra` files as mkinitrd.sh names them."""
    users = [os.path.join(build, "user", name) for name in ("usertests", "twins")]
    subprocess.run(["sh", os.path.join(ROOT, "kernel", "mkinitrd.sh"), *options, path]
                   + users + extra, check=True)


def on_linux(script, applets):
    """The script's output and status here, by the same busybox, with nothing but its applets."""
    with tempfile.TemporaryDirectory() as directory:
        run = subprocess.run([busybox(), "sh", script], cwd=directory, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             env={"PATH": applets, "HOME": "/"}, timeout=120)
    return run.stdout, run.returncode


def outputs(console):
    """{name: (output, status)} of the scripts that ended, and those the auditor complained of."""
    found = {}
    mark = MARK.encode()
    pattern = re.compile(rb"^%s begin (\S+)\n(.*?)%s end \1 (\d+)$" % (mark, mark), re.M | re.S)
    for match in pattern.finditer(console):
        found[match.group(1).decode()] = (match.group(2), int(match.group(3)))
    audits = re.findall(rb"^%s audit (\S+)$" % mark, console, re.M)
    return found, {name.decode() for name in audits}


def difference(got, want):
    """The first line that is not as it should be."""
    have, should = got.split(b"\n"), want.split(b"\n")
    for i in range(max(len(have), len(should))):
        a = have[i] if i < len(have) else b"(end)"
        b = should[i] if i < len(should) else b"(end)"
        if a != b:
            return f"line {i + 1}: {a!r}, on Linux {b!r}"
    return "no difference"


def suite_scripts(build, work, results):
    expected = {}
    extra = []
    applets = os.path.join(work, "applets")
    os.mkdir(applets)
    subprocess.run([busybox(), "--install", "-s", applets], check=True)
    scripts = os.path.join(HERE, "scripts")
    for file in sorted(os.listdir(scripts)):
        expected[file[:-3]] = on_linux(os.path.join(scripts, file), applets)
        extra.append(f"{os.path.join(scripts, file)}:/tests/{file}")
    driver = os.path.join(work, "scripts")
    with open(driver, "w") as out:
        out.write(DRIVER)
    os.chmod(driver, 0o755)
    archive = os.path.join(work, "archive")
    image(build, archive, extra + [driver])
    console, status = boot(build, "scripts", archive, "run=scripts")
    judge(build, "scripts", expected, console, status, results)


def judge(build, suite, expected, console, status, results):
    """Compare what each test printed and how it ended with {name: (output, status)}."""
    found, audits = outputs(console)
    before = results.failed
    for name, (output, code) in sorted(expected.items()):
        problem = None
        if name not in found:
            problem = "it did not come to an end"
        elif found[name][0] != output:
            problem = difference(found[name][0], output)
        elif found[name][1] != code:
            problem = f"status {found[name][1]}, on Linux {code}"
        elif name in audits:
            problem = "the auditor has findings"
        results.say(f"{suite}/{name}", problem)
    results.say(f"{suite}/boot", None if status == EXIT_OK else f"QEMU's status was {status}")
    if results.failed > before:
        keep(build, suite, console)


def suite_list(build, work, results, suite, only, more=()):
    """The commands of a folder's list.txt, on the root file system of Debian's packages."""
    folder = os.path.join(HERE, suite.partition("_")[0])
    expected = {}
    lines = []
    borrowed = []  # files of the ladder's
    with open(os.path.join(folder, "list.txt"), encoding="ascii") as listed:
        for line in listed:
            name = line.split()[0]
            if name in LATER or (only and name not in only):
                continue
            lines.append(line)
            output = os.path.join(folder, name + ".out")
            if not os.path.exists(output):
                output = os.path.join(HERE, "ladder", name + ".out")
                borrowed.append(os.path.join(HERE, "ladder", line.split()[-1]))
            with open(output, "rb") as wanted:
                expected[name] = (wanted.read(), 0)
    files = {"list": "".join(lines), suite: LIST_DRIVER}
    for name, text in files.items():
        with open(os.path.join(work, name), "w", encoding="ascii") as out:
            out.write(text)
    os.chmod(os.path.join(work, suite), 0o755)
    own = [os.path.join(folder, file) for file in sorted(os.listdir(folder))]
    extra = [f"{file}:/tests/{os.path.basename(file)}" for file in own + borrowed]
    over = os.path.join(work, "over")
    image(build, over, extra + [f"{work}/list:/tests/list", f"{work}/{suite}"], ["-o"])
    archive = os.path.join(work, "archive-" + suite)
    with open(archive, "wb") as out:
        for part in (os.path.join(build, "debian.cpio"), over):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, out)
    console, status = boot(build, suite, archive, f"run={suite}", more)
    judge(build, suite, expected, console, status, results)
    return console


def keep(build, suite, console):
    path = os.path.join(build, f"kernel-{suite}.log")
    with open(path, "wb") as out:
        out.write(console)
    print(f"(the console is in {path})")


PAGE_FILE = 512 << 20


def server_start(work, error="", port=None):
    """An nbdkit that serves a page file on a free port of the loopback; the process and the port.

    With a port it starts again there: what it has served is in a file and outlives it."""
    path = os.path.join(work, "pagefile")
    if not os.path.exists(path):
        with open(path, "wb") as out:
            out.truncate(PAGE_FILE)
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    wrong = ["--filter=error", "file", path, error] if error else ["file", path]
    process = subprocess.Popen(["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), *wrong],
                               stderr=subprocess.DEVNULL)
    return process, port


def page_file(port):
    """QEMU's options for a disk on that server, whose errors the kernel sees."""
    return ["-drive", "if=none,id=pages,driver=raw,file.driver=nbd,file.server.type=inet,"
            f"file.server.host=127.0.0.1,file.server.port={port},file.reconnect-delay=120",
            "-device", "virtio-blk-pci,drive=pages,rerror=report,werror=report"]


class Server:
    """A page file for a suite, served while the block runs: QEMU's options for it."""

    def __init__(self, work, suite):
        self.process, self.port = server_start(work, ERRORS.get(suite, ""))
        self.trouble = Trouble(work, self.process, self.port) if suite == "swap_nbd" else None

    def __enter__(self):
        if self.trouble:
            self.trouble.start()
        return page_file(self.port)

    def __exit__(self, *_):
        if self.trouble:
            self.trouble.end()
        else:
            self.process.kill()
            self.process.wait()


class Trouble(threading.Thread):
    """Kills the server once pages have gone to it, and then every few seconds, and starts it again
    a second later."""

    def __init__(self, work, process, port):
        super().__init__()
        self.work, self.process, self.port = work, process, port
        self.killed = 0
        self.enough = threading.Event()

    def written(self):
        return os.stat(os.path.join(self.work, "pagefile")).st_mtime_ns

    def run(self):
        before = self.written()
        while self.written() == before:
            if self.enough.wait(0.2):
                return
        while not self.enough.is_set():
            self.process.kill()
            self.process.wait()
            self.killed += 1
            self.enough.wait(1)
            self.process, _ = server_start(self.work, port=self.port)
            self.enough.wait(5)

    def end(self):
        self.enough.set()
        self.join()
        self.process.kill()
        self.process.wait()


def paging_problem(suite, console, killed):
    """Print what was paged; what is wrong with it, or None."""
    paging = re.findall(rb"^%s paging (\S+) pswpin (\d+) pswpout (\d+) (?:pswp\S+ \d+ )*"
                        rb"pswpin (\d+) pswpout (\d+)" % MARK.encode(), console, re.M)
    all_in = all_out = 0
    for name, *numbers in paging:
        was_in, was_out, now_in, now_out = map(int, numbers)
        print(f"  {name.decode():14} {now_out - was_out:7} pages out {now_in - was_in:7} in")
        all_in, all_out = all_in + now_in - was_in, all_out + now_out - was_out
    errors = re.search(rb"^pswpin_errors (\d+)\npswpout_errors (\d+)$", console, re.M)
    if errors is None:
        return "the machine's counts are not there"
    in_errors, out_errors = map(int, errors.groups())
    print(f"  transfers that failed: {in_errors} in, {out_errors} out")
    if killed is not None:
        print(f"  the server was killed {killed} times")
    if b"out of memory" in console:
        return "a program was killed while there was room in the page file"
    if all_in == 0 or all_out == 0:
        return f"nothing is proved: {all_out} pages went out, {all_in} came in"
    if killed == 0:
        return "the server was never killed"
    if suite == "swap_errors":
        return "no write failed" if out_errors == 0 else None
    return "transfers failed that nobody made fail" if in_errors or out_errors else None


def suite_swap(build, work, results, suite, only):
    before = results.failed
    server = Server(work, suite)
    with server as disk:
        console = suite_list(build, work, results, suite, only, disk)
    killed = server.trouble.killed if server.trouble else None
    results.say(f"{suite}/paging", paging_problem(suite, console, killed))
    if results.failed > before:
        keep(build, suite, console)


def suite_swap_tests(build, work, results, suite):
    with Server(work, suite) as disk:
        suite_usertests(build, work, results, suite, disk)


def suite_usertests(build, work, results, suite, more=()):
    archive = os.path.join(work, "archive-" + suite)
    image(build, archive, [])
    console, status = boot(build, suite, archive, "run=usertests" + ASKED[suite], more)
    text = console.decode(errors="replace")
    before = results.failed
    for name, verdict in re.findall(r"^test (\S+): (OK|FAILED.*)", text, re.M):
        results.say(f"{suite}/{name}", None if verdict == "OK" else verdict)
    # What was tried: calls and pointers, sites.
    for line in re.findall(r"^  .*$", text, re.M):
        print(line)
    total = re.search(r"^usertests: (\d+) passed, (\d+) failed$", text, re.M)
    problem = None
    if total is None:
        problem = "it did not come to an end"
    elif status != EXIT_OK:
        problem = f"QEMU's status was {status}"
    elif int(total.group(1)) == 0:
        problem = "no test ran"
    results.say(f"{suite}/boot", problem)
    if results.failed > before:
        keep(build, suite, console)


def suite_demo(build, work, results):
    archive = os.path.join(work, "archive-demo")
    image(build, archive, [])
    console, status = boot(build, "demo", archive, "demo")
    problem = None
    if status != EXIT_OK:
        problem = f"QEMU's status was {status}"
    elif b"audit: 0 findings" not in console or b"all is well" not in console:
        problem = "it did not end well"
    results.say("demo", problem)
    if problem:
        keep(build, "demo", console)


# What is typed when the prompt is there, and what must then be seen before the next prompt.
DIALOGUE = [
    (b"echo one\r", b"\none\n"),
    # Line editing: the shell's own, in raw mode.
    (b"echo twX\x7fo\r", b"\ntwo\n"),
    (b"echo right\x1b[D\x1b[D\x1b[D\x1b[D\x1b[DB\r", b"\nBright\n"),
    # The terminal's editing, in canonical mode: erase, kill, end of file.
    (b"cat\r", None), (b"wrong\x15helX\x7flo\n\x04", b"\nhello\n"),
    # Ctrl-C ends the program in front, not the shell.
    (b"sleep 100\r", None), (b"\x03", b""), (b"echo status $?\r", b"\nstatus 130\n"),
    # Ctrl-Z stops it, fg continues it.
    (b"sleep 100\r", None), (b"\x1a", b"Stopped"), (b"jobs\r", b"sleep 100"),
    (b"kill %1; kill -CONT %1; wait; echo gone\r", b"gone\n"),
    (b"cat /proc/self/maps | grep -c stack\r", b"\n1\n"),
    (b"tty | cat\r", b"\n/dev/console\n"), (b"stty | wc -l && echo set\r", b"\nset\n"),
]
PROMPT = b"quire:/# "


class Dialogue:
    """A console to talk to."""

    def __init__(self, command, limit):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.end = time.monotonic() + limit
        self.all = b""
        self.seen = 0

    def until(self, wanted):
        """Everything since the last call, once it has `wanted` in it; None when time is up."""
        while time.monotonic() < self.end:
            part = self.process.stdout.read()
            self.all += (part or b"").replace(b"\r", b"")
            at = self.all.find(wanted, self.seen)
            if at >= 0:
                text = self.all[self.seen:at]
                self.seen = at + len(wanted)
                return text
            if self.process.poll() is not None and not part:
                return None
            time.sleep(0.02)
        return None

    def type(self, keys):
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def close(self):
        """Read on until the machine has stopped, or time is up; its status."""
        self.until(b"\0")
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()


def suite_console(build, work, results):
    archive = os.path.join(work, "archive-console")
    image(build, archive, [])
    console = Dialogue(command_line(build, "console", archive, "shell"), BOOT_SECONDS["console"])
    problem = None if console.until(PROMPT) is not None else "there was no prompt"
    for keys, wanted in DIALOGUE:
        if problem:
            break
        console.type(keys)
        if wanted is None:
            # A program takes the terminal; it says nothing when it has it.
            console.until(b"\n")
            time.sleep(0.5)
            continue
        text = console.until(PROMPT)
        if text is None or wanted not in b"\n" + text:
            problem = f"{keys!r} brought {text!r} and not {wanted!r}"
    console.type(b"exit\r")
    status = console.close()
    if problem is None and status != EXIT_OK:
        problem = f"QEMU's status was {status}"
    results.say("console", problem)
    if problem:
        keep(build, "console", console.all)


# What is done to the disk, and how many writes and reads of it must fail: one of each transfer.
INJECTED = {
    "sound": ([], 0, 0),
    "one_write_fails": (["event=none,iotype=write,errno=5,once=on,sector=2048"], 1, 0),
    "one_read_fails": (["event=none,iotype=read,errno=5,once=on,sector=2048"], 0, 1),
    "each_fails": (["event=none,iotype=write,errno=5,once=on,sector=80",
                    "event=none,iotype=read,errno=28,once=on,sector=7000"], 1, 1),
}
DISK_BYTES = (4 << 20) + 1536


def faulty(name, path, errors):
    """QEMU's options for a disk that can be written, and fails: blkdebug's inject-error."""
    rules = [f",file.inject-error.{i}.{word}" for i, rule in enumerate(errors)
             for word in rule.split(",")]
    return ["-drive", f"if=none,id={name},driver=raw,file.driver=blkdebug,file.image.driver=file,"
            f"file.image.filename={path}" + "".join(rules),
            "-device", f"virtio-blk-pci,drive={name},rerror=report,werror=report,"
            "request-merging=off"]


def disk_is_right(path):
    """Words that tell their place, as tests/kernel/disks.c writes them."""
    with open(path, "rb") as image:
        content = image.read()
    words = [(i + 1) * 0x9e3779b97f4a7c15 % 2**64 for i in range(DISK_BYTES // 8)]
    return content == struct.pack(f"<{len(words)}Q", *words)


def suite_disks(build, work, results):
    fixed, path = os.path.join(work, "fixed"), os.path.join(work, "disk")
    with open(fixed, "wb") as out:
        out.truncate(65536)
    for name, (errors, writes, reads) in INJECTED.items():
        with open(path, "wb") as out:
            out.truncate(DISK_BYTES)
        console, status = boot(build, "disks", fixed, "disks", faulty("disk", path, errors))
        said = f"0 bytes wrong, {writes} writes and {reads} reads failed"
        problem = None
        if status != EXIT_OK or said.encode() not in console:
            problem = f"QEMU's status was {status}, it did not say '{said}'"
        elif not disk_is_right(path):
            problem = "the disk's content is not what was written"
        results.say(f"disks/{name}", problem)
        if problem:
            keep(build, "disks", console)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = os.path.abspath(sys.argv[1])
    results = Results()
    work = tempfile.mkdtemp()
    try:
        for suite in sys.argv[2:] or ["scripts", "ladder", "programs", "usertests", "pressure",
                                      "demo", "disks", "console", "swap_tests", "swap_sigbus",
                                      "swap", "swap_errors", "swap_nbd"]:
            suite, _, only = suite.partition(":")
            if suite == "scripts":
                suite_scripts(build, work, results)
            elif suite in ("ladder", "programs"):
                suite_list(build, work, results, suite, only.split(",") if only else [])
            elif suite in ("swap", "swap_errors", "swap_nbd"):
                suite_swap(build, work, results, suite, only.split(",") if only else [])
            elif suite in ("swap_tests", "swap_sigbus"):
                suite_swap_tests(build, work, results, suite)
            elif suite in ("usertests", "pressure"):
                suite_usertests(build, work, results, suite)
            elif suite == "demo":
                suite_demo(build, work, results)
            elif suite == "disks":
                suite_disks(build, work, results)
            elif suite == "console":
                suite_console(build, work, results)
            else:
                sys.exit(f"run.py: no suite {suite}")
    finally:
        shutil.rmtree(work)
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
