#!/bin/sh
# SPDX-License-Identifier: MIT
#
# setup.sh PURPOSE...: make sure that what the given make targets need is installed.
#
# What is missing for a purpose (build, run, bench, traces, test, proof, style) is installed with
# apt-get, named as Debian names it; without root the one command to type is printed instead and the
# build stops.  Where everything is there, nothing is printed and nothing is asked of the network.
set -eu

# package:what it brings (a command, or the path of a file)
build='gcc:gcc libc6-dev:/usr/include/stdio.h cmake:cmake liblz4-dev:/usr/include/lz4.h'
machine='qemu-system-x86:qemu-system-x86_64 busybox-static:/bin/busybox cpio:cpio'
# Page files on a server.
server='nbdkit:nbdkit'
# Condition coverage is in no older clang.
proof='clang-19:clang-19 llvm-19:llvm-cov-19
    libclang-rt-19-dev:/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.profile-x86_64.a'
# Recorded traces are packed.
traces='xz-utils:xz'
record='valgrind:valgrind gcc:gcc python3-minimal:/usr/bin/python3 sqlite3:sqlite3'
style='clang-format:clang-format python3:python3'

needed=''
for purpose in "$@"; do
    case $purpose in
    build) needed="$needed $build" ;;
    run) needed="$needed $build $machine" ;;
    bench) needed="$needed $build $machine $traces python3:python3" ;;
    traces) needed="$needed $build $traces $record" ;;
    test) needed="$needed $build $machine $server $traces $style clang:clang" ;;
    proof) needed="$needed $build $machine $server $traces $style clang:clang $proof" ;;
    style) needed="$needed $style" ;;
    *)
        echo "setup.sh: unknown purpose '$purpose'" >&2
        exit 2
        ;;
    esac
done

# Packages that put a file where another package can put one too are asked for by name.
has() {
    case $1 in
    busybox-static)
        dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
        return
        ;;
    esac
    case $2 in
    /*) [ -e "$2" ] ;;
    *) command -v "$2" >/dev/null 2>&1 ;;
    esac
}

missing=''
for item in $needed; do
    package=${item%%:*}
    case " $missing " in *" $package "*) continue ;; esac
    has "$package" "${item#*:}" || missing="$missing $package"
done
missing=${missing# }
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "quire needs these Debian packages (or what your system calls them): $missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "packages are missing; type: sudo apt-get install --no-install-recommends $missing" >&2
    exit 1
fi

echo "setup: installing $missing"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends $missing; }
# A fresh system has no package lists, an old one has stale ones: fetch them and try again.
install || { apt-get update -q && install; }
