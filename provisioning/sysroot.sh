#!/bin/bash
# What building for a Pi on another machine needs: the cross compiler, qemu to run the tests, and a
# folder with Debian's libraries for the Pi.
#
#   provisioning/sysroot.sh armhf         32-bit: ARMv7, as Raspberry Pi OS calls armhf on a Pi 2 to 4
#   provisioning/sysroot.sh arm64         64-bit
#
# Then: cmake --preset armhf && cmake --build --preset armhf && ctest --preset armhf
# Packages are only unpacked, never run; the folder is build/sysroot/ARCHITECTURE, deleted to start anew.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

case ${1:-} in
armhf) compiler=gcc-arm-linux-gnueabihf ;;
arm64) compiler=gcc-aarch64-linux-gnu ;;
*)
    echo "usage: provisioning/sysroot.sh armhf|arm64" >&2
    exit 2
    ;;
esac
architecture=$1
folder=$root/build/sysroot/$architecture

as_root=()
((EUID == 0)) || as_root=(sudo)
"${as_root[@]}" apt-get update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    "$compiler" "libc6-dev-$architecture-cross" qemu-user-static mmdebstrap
[[ ! -e $folder/usr/include/uv.h ]] || {
    echo "The libraries for $architecture are there: $folder"
    exit 0
}
# shellcheck source=/etc/os-release disable=SC1091
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
# The libraries among what a build and its tests need; programs come from this machine.
libraries=$("$here/packages.sh" --list build test | grep -E '^lib.*-dev$' | paste -sd,)
mkdir -p "$(dirname "$folder")"
rm -rf "$folder.new"
# From where this machine has its own packages. The release alone: the updates of two architectures do
# not always come out together, and a Pi brings its own.
archive=$(apt-get indextargets --format "\$(RELEASE) \$(REPO_URI)" 'Created-By: Packages' |
    awk -v release="$release" '$1 == release { print $2; exit }')
[[ -n $archive ]] || {
    echo "sysroot.sh: apt knows no archive of Debian $release: what does /etc/apt name?" >&2
    exit 1
}
"${as_root[@]}" mmdebstrap --variant=extract --architectures="$architecture" \
    --include="$libraries" "$release" "$folder.new" "deb $archive $release main"
rm -rf "$folder.new/dev" # qemu would show programs these devices instead of the machine's
# Links by absolute path would lead to this machine's own files.
"${as_root[@]}" find "$folder.new/usr/lib" -type l -lname '/*' -print0 |
    while IFS= read -r -d '' link; do
        "${as_root[@]}" ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" \
            "$folder.new$(readlink "$link")")" "$link"
    done
mv "$folder.new" "$folder"
echo "Ready: cmake --preset $architecture && cmake --build --preset $architecture"
