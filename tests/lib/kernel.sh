# Debian's own kernel for virtual machines, downloaded once and not installed. Sourced by bash.

# kernel_fetch FOLDER: the newest kernel of this release, unpacked there.
kernel_fetch() {
    local cache=$1 package
    [[ ! -f $cache/complete ]] || return 0
    mkdir -p "$cache/root"
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
    [[ -n $package ]] || die "apt knows no linux-image-amd64: run apt-get update"
    echo "Downloading $package" >&2
    (cd "$cache" && apt-get download "$package" >/dev/null && dpkg -x "$package"_*.deb root &&
        rm -f "$package"_*.deb) || die "$package cannot be downloaded or unpacked"
    depmod -b "$cache/root" "$(ls "$cache/root/lib/modules")"
    touch "$cache/complete"
}

# kernel_module_files FOLDER VERSION MODULE...: files of modules and what they need, in the order of
# loading.
kernel_module_files() {
    local cache=$1 version=$2 module
    shift 2
    for module in "$@"; do
        modprobe -d "$cache/root" -S "$version" --show-depends "$module" 2>/dev/null |
            awk '$1 == "insmod" { print $2 }'
    done | awk '!seen[$0]++'
}
