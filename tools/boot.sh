#!/bin/sh
# SPDX-License-Identifier: MIT
#
# boot.sh BUILD [COMMAND LINE...]: boot the demonstration kernel in QEMU and end as it ended.
#
# Without a command line: Debian's programs, with a shell on a terminal (`exit` ends it, Ctrl-A x
# switches the machine off), otherwise the demonstration, which ends by itself.  With one: the small
# root file system of nothing but busybox and the tests' programs.  The kernel gives isa-debug-exit
# a number, of which QEMU makes the odd status 2n+1; the kernel says OK (EXIT_OK in kernel/cpu.h)
# with one that nothing else produces, because a triple fault ends QEMU with 0 and a wrong option
# with 1.
#
# From the environment: QUIRE_IMAGE (root.cpio: Debian's programs with a command line, too),
# QUIRE_MEMORY (default 512M), QUIRE_TIMEOUT in seconds (default 300, none on a terminal),
# QUIRE_COUNT=1 (count instructions: one tick of the time-stamp counter is one instruction, and two
# runs are alike).
set -u
OK=42
build=$1
shift

console=stdio
limit=300
image=${QUIRE_IMAGE:-initrd.cpio}
[ $# -gt 0 ] || image=root.cpio
# The small one lies in memory, so that two counted runs are alike; the large one on a disk.
place="-initrd $build/$image"
[ $image = initrd.cpio ] ||
    place="-drive if=none,id=root,file=$build/$image,format=raw,readonly=on \
        -device virtio-blk-pci,drive=root"
if [ $# -gt 0 ]; then
    :
elif [ -t 0 ] && [ -t 1 ]; then
    console=mon:stdio
    limit=0
    set -- shell
else
    set -- demo
fi

# The kernel saves no state of the wide vectors; programs are not to see them.
cpu=max,-la57,-avx
count=''
if [ "${QUIRE_COUNT:-0}" = 1 ]; then
    # `rep movsb` counts every byte; without ERMS nobody uses it for pages.
    cpu=max,-erms,-la57,-avx
    count='-icount shift=0,sleep=off -seed 1 -rtc base=2020-01-01T00:00:00,clock=vm'
fi

timeout --foreground "${QUIRE_TIMEOUT:-$limit}" qemu-system-x86_64 \
    -M q35 -accel tcg -cpu "$cpu" -m "${QUIRE_MEMORY:-512M}" -smp 1 $count \
    -nodefaults -no-user-config -display none -no-reboot -serial "$console" \
    -device isa-debug-exit,iobase=0xf4,iosize=4 \
    -kernel "$build/kernel.elf" $place -append "$*"
status=$?

case $status in
$((OK * 2 + 1))) exit 0 ;;
124) echo "boot: the time limit has passed" >&2 ;;
0) echo "boot: the machine reset itself (a triple fault), or was switched off" >&2 ;;
*[13579]) echo "boot: the kernel ended with code $((status / 2))" >&2 ;;
*) echo "boot: QEMU ended with status $status" >&2 ;;
esac
exit 1
