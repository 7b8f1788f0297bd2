#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds an initial root file system of the demonstration kernel, a cpio archive of the kind
# "newc": Debian's busybox-static with a link for each of its applets, the files of kernel/rootfs,
# and what else is named.  With -o only the latter two, to lie over mkdebian.sh's archive.
#
# mkinitrd.sh [-o] OUTPUT [FILE[:PATH] ...]
#     FILE goes to PATH in the archive, or to /bin under its own name; a directory goes with its
#     files.

set -eu

over=0
if [ "${1-}" = -o ]; then
    over=1
    shift
fi
if [ $# -lt 1 ]; then
    echo "usage: mkinitrd.sh [-o] OUTPUT [FILE[:PATH] ...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
output=$1
shift

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/bin"

# A small system of nothing but busybox.
busybox_add() {
    busybox=
    for candidate in /bin/busybox /usr/bin/busybox; do
        if [ -x "$candidate" ]; then
            busybox=$candidate
            break
        fi
    done
    if [ -z "$busybox" ] || ! command -v cpio >/dev/null; then
        echo "mkinitrd.sh: needs the packages busybox-static and cpio" >&2
        exit 1
    fi
    mkdir -p "$tree/sbin" "$tree/usr/bin" "$tree/usr/sbin" "$tree/etc" "$tree/root"
    cp "$busybox" "$tree/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    echo 'root:x:0:' >"$tree/etc/group"
}
[ $over = 1 ] || busybox_add
cp "$here"/rootfs/* "$tree/"
chmod 755 "$tree" "$tree/init" "$tree/demo.sh"

for item in "$@"; do
    file=${item%%:*}
    path=/bin/$(basename "$file")
    [ "$file" = "$item" ] || path=${item#*:}
    mkdir -p "$tree$(dirname "$path")"
    cp -R "$file" "$tree$path"
done

# The order and the owners do not depend on who builds; the times are of no use.
(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$output.new"
mv "$output.new" "$output"
