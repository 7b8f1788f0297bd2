#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The mappings of running programs: none is writable and executable, text is a file's, the dynamic
linker's read-only-after-relocation data are read-only, and a store there dies.

The programs wait for their input, so that they stand where they have loaded all that they need."""
import ctypes
import os
import re
import signal
import struct
import subprocess
import time

PROGRAMS = [["bash"], ["dash"], ["cat"], ["sed", "p"], ["gawk", "{ print }"], ["sqlite3"],
            ["perl", "-e", "<STDIN>"], ["lua5.4", "-e", "io.read()"], ["sort"],
            ["python3", "-c", "input()"], ["find", "-files0-from", "-"]]
LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) \S+ (\d+) *(.*)")
PAGE = 4096


def maps(pid):
    """(start, end, rights, offset, inode, name) of each."""
    with open(f"/proc/{pid}/maps") as lines:
        for line in lines:
            found = LINE.match(line.rstrip("\n"))
            assert found, line
            start, end, rights, offset, inode, name = found.groups()
            yield int(start, 16), int(end, 16), rights, int(offset, 16), int(inode), name


def relro(path):
    """What the file at `path` wants to be read-only once it is relocated: address and length."""
    with open(path, "rb") as file:
        head = file.read(64)
        place, = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(place)
        table = file.read(size * count)
    for i in range(count):
        kind, _, _, address, _, _, length = struct.unpack_from("<IIQQQQQ", table, i * size)
        if kind == 0x6474e552:
            return address, length
    return None


def first_address(path):
    """The page of its first loaded segment."""
    with open(path, "rb") as file:
        head = file.read(64)
        place, = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(place)
        table = file.read(size * count)
    return min(struct.unpack_from("<Q", table, i * size + 16)[0] & -PAGE for i in range(count)
               if struct.unpack_from("<I", table, i * size)[0] == 1)


def relro_ranges(pid):
    """(file, low, high) of the whole pages that must be read-only in a process."""
    bases = {}
    for start, _, _, offset, inode, name in maps(pid):
        if inode and offset == 0 and name not in bases and name.startswith("/"):
            bases[name] = start
    for name, base in bases.items():
        try:
            with open(name, "rb") as file:
                if file.read(4) != b"\x7fELF":
                    continue
        except OSError:
            continue
        wanted = relro(name)
        if wanted:
            low = base + wanted[0] - first_address(name)
            yield name, low & -PAGE, (low + wanted[1]) & -PAGE


def judge(pid):
    """What is wrong with its mappings, and how many of them are text or read-only by RELRO."""
    wrong, text, hard = [], 0, 0
    rows = list(maps(pid))
    for start, _, rights, _, inode, name in rows:
        if "w" in rights and "x" in rights:
            wrong.append(f"{rights} {name}")
        if "x" in rights and name not in ("[vdso]", "[vsyscall]"):
            text += 1
            if not inode or "s" in rights:
                wrong.append(f"text of nothing at {start:x}")
    for name, low, high in relro_ranges(pid):
        for start, end, rights, _, _, _ in rows:
            if start < high and low < end:
                hard += 1
                if "w" in rights:
                    wrong.append(f"RELRO of {name} is {rights}")
    return wrong, text, hard


def settle(processes):
    """Wait until they wait: nothing more is mapped, three times in a row."""
    before, same = None, 0
    while same < 3:
        time.sleep(0.2)
        assert not [process.args for process in processes if process.poll() is not None]
        now = [list(maps(process.pid)) for process in processes]
        same = same + 1 if now == before else 0
        before = now


def store(address):
    """The signal that a store there ends a child with (0: none)."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        byte = ctypes.string_at(address, 1)
        ctypes.memmove(address, byte, 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for command in PROGRAMS]
    settle(running)
    for process, command in zip(running, PROGRAMS):
        wrong, text, hard = judge(process.pid)
        print(command[0], wrong, text >= 3, hard >= 3)
    for process in running:
        process.kill()
        process.wait()
    wrong, text, hard = judge("self")
    print("self", wrong, text >= 3, hard >= 3)
    # By the program's own store, and by the kernel on its behalf.
    libc = ctypes.CDLL(None, use_errno=True)
    read, write = os.pipe()
    os.write(write, b"x" * 100)
    ranges = [r for r in relro_ranges("self") if r[1] < r[2]]
    print("stores", {store(address) for _, low, high in ranges for address in (low, high - 1)},
          {(libc.read(read, ctypes.c_void_p(low), 1), ctypes.get_errno()) for _, low, _ in ranges})
    print("control", store(ctypes.addressof(ctypes.create_string_buffer(8))))


main()
