#!/bin/sh
# SPDX-License-Identifier: MIT
# Unpacks a set of Debian packages, unmodified, into a cpio archive of the kind "newc": the larger
# part of the demonstration kernel's root file system.
#
# mkdebian.sh LIST CACHE OUTPUT
#     LIST names packages, one a line.  They and what they depend on are downloaded into the folder
#     CACHE, once, by apt and its configured sources; nothing is installed on this machine.
#
# Packages' maintainer scripts are not run.  What they would do and programs rely on is done here:
# the links of a usr-merged system, of `awk` and of `lua`.  Documentation, manuals, translations and
# the sanitizers' libraries are left out; no file that goes in is changed.

set -eu

list=$(grep -v '^#' "$1")
cache=$(mkdir -p "$2/partial" && cd "$2" && pwd)
output=$3

for tool in apt-get dpkg-deb cpio; do
    command -v $tool >/dev/null || {
        echo "mkdebian.sh: needs $tool" >&2
        exit 1
    }
done

# apt as it would be on a machine that has no package yet, with this machine's lists.
: >"$cache/status"
apt() {
    apt-get -q -o Debug::NoLocking=1 -o Dir::State::status="$cache/status" \
        -o Dir::Cache::archives="$cache" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root -o APT::Install-Recommends=false "$@"
}
mkdir -p "$cache/none/partial"
plan() {
    apt install --print-uris -qq -o Dir::Cache::archives="$cache/none" $list
}
fetch() {
    apt install --download-only -y $list
}
files=$(plan 2>"$cache/log" | awk '{ print $2 }') || files=''
missing=0
for file in $files; do
    [ -e "$cache/$file" ] || missing=1
done
if [ -z "$files" ] || [ $missing = 1 ]; then
    # Old package lists, or none, are fetched anew.
    fetch >>"$cache/log" 2>&1 || { apt-get update -q && fetch; } >>"$cache/log" 2>&1 || {
        cat "$cache/log" >&2
        exit 1
    }
    files=$(plan | awk '{ print $2 }')
fi

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib" "$tree/usr/lib64" "$tree/root" \
    "$tree/etc"
for folder in bin sbin lib lib64; do
    ln -s usr/$folder "$tree/$folder"
done
echo 'root:x:0:0:root:/root:/bin/bash' >"$tree/etc/passwd"
echo 'root:x:0:' >"$tree/etc/group"
for file in $files; do
    dpkg-deb --fsys-tarfile "$cache/$file" | tar -x -C "$tree" --keep-directory-symlink \
        --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/info' \
        --exclude='./usr/share/locale' --exclude='./usr/share/lintian' \
        --exclude='./usr/share/bug' --exclude='./usr/lib/*/lib[atl]san.*' \
        --exclude='./usr/lib/*/libtsan.*' --exclude='./usr/lib/gcc/*/lib[atl]san*' \
        --exclude='./usr/lib/gcc/*/libtsan*'
done
ln -sf gawk "$tree/usr/bin/awk"
ln -sf ../proc/self/mounts "$tree/etc/mtab"
ln -sf lua5.4 "$tree/usr/bin/lua"
[ -e "$tree/usr/bin/sh" ] || ln -s dash "$tree/usr/bin/sh"

# Each name with bytes of its own: the archive's readers need not know of hard links.
find "$tree" -type f -links +1 | while read -r file; do
    cp -p "$file" "$tree/copy"
    mv "$tree/copy" "$file"
done
(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$output.new"
mv "$output.new" "$output"
