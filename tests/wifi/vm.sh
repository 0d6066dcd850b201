#!/bin/bash
# Runs a script in a small virtual machine whose hosts are joined by real 802.11.
#
#   tests/wifi/vm.sh [-p PIS] [-t SECONDS] [-m MEMORY_MB] [-i] SCRIPT [ARGUMENT...]
#
# Debian's own kernel under qemu (emulated: no KVM is needed; some 20 s to boot), this machine's files
# below it, read-only, and in it the network of guest.sh: an access point (hostapd, WPA2), stations pi1 …
# piN and client, and a wired host. The radios are mac80211_hwsim: the kernel's own 802.11 stack, so that
# association, handshakes, relaying of broadcast, client isolation and power save are the real ones.
# SCRIPT is sourced by bash, as root, with guest.sh's functions; its exit status is this program's.
# $ROOT is this repository. What it writes is gone with the machine: print it, or write below $OUT, which is copied back to the
# folder named by WIFI_OUT.
#
#   -p PIS      stations beside the client: 2
#   -t SECONDS  limit of the whole run: 300 (exit status 124)
#   -m MEMORY   of the machine, in MiB: 1024
#   -i          client isolation from the start (hostapd's ap_isolate)
#
# Time in the machine is counted in instructions, one a nanosecond, and skips to the next timer when there is
# nothing to do: what is measured there is what one processor of 1,000 million instructions a second does for
# all hosts, whatever else this machine does, and waiting costs nothing. A file that has to be fetched from
# below costs more there than here. WIFI_ACCEL=kvm takes the real clock instead, where KVM works.
# The kernel is downloaded once by apt and kept in $WIFI_CACHE (/var/tmp/covey-wifi).
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WIFI_CACHE:-/var/tmp/covey-wifi}
modules="virtio_pci 9pnet_virtio 9p overlay mac80211_hwsim sch_netem bridge veth nf_tables nft_chain_nat
    nft_ct nft_numgen nft_limit tun ccm ctr cmac"

. "$here/../lib/kernel.sh"

die() {
    echo "vm.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '4p' "$0" >&2
    exit 2
}

# What runs before there is a root file system: loads modules, mounts this machine's files.
write_init() {
    cat <<INIT
#!/bin/busybox sh
B=/bin/busybox
\$B mount -t proc proc /proc
\$B mount -t sysfs sys /sys
\$B mount -t devtmpfs dev /dev
for module in \$(\$B cat /order); do
    case \$module in
    mac80211_hwsim*) \$B insmod /modules/\$module radios=$((pis + 2)) ;;
    *) \$B insmod /modules/\$module 2>/dev/null ;;
    esac
done
\$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose root /root
for folder in proc sys dev; do \$B mount -o bind /\$folder /root/\$folder; done
\$B mkdir -p /dev/pts /dev/shm
\$B mount -t devpts devpts /root/dev/pts
\$B mount -t tmpfs shm /root/dev/shm
\$B mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
\$B mount -t debugfs debugfs /root/sys/kernel/debug
for folder in tmp run var/tmp; do \$B mount -t tmpfs tmpfs /root/\$folder; done
\$B cp /arguments /script /root/tmp/
\$B mkdir -p /root/run/lock /root/tmp/out
\$B env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C ROOT=$(realpath "$here/../..") PIS=$pis ISOLATE=$isolate \
    OUT=/tmp/out \$B chroot /root /bin/bash -c '. "$here/guest.sh" && wifi_up &&
    eval "set -- \$(cat /tmp/arguments)" && . /tmp/script; echo "vm-exit \$?"
    cd /tmp/out && tar czf - . | base64 | sed "s/^/vm-out /"'
\$B poweroff -f
INIT
}

write_initrd() {
    local file
    mkdir -p "$work"/initrd/{bin,modules,root,proc,dev,sys}
    cp "$(command -v busybox)" "$work/initrd/bin/"
    kernel_module_files "$cache" "$version" $modules | while read -r file; do
        cp "$file" "$work/initrd/modules/"
        basename "$file"
    done >"$work/initrd/order"
    grep -q hwsim "$work/initrd/order" || die "the kernel $version has no mac80211_hwsim"
    printf '%q ' "$@" >"$work/initrd/arguments"
    cp "$script" "$work/initrd/script"
    write_init >"$work/initrd/init"
    chmod +x "$work/initrd/init"
    (cd "$work/initrd" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd.gz"
}

boot() {
    local pace=()
    [[ $accel != tcg ]] || pace=(-icount shift=0,sleep=off -rtc clock=vm)
    timeout --foreground "$limit" qemu-system-x86_64 -accel "$accel" "${pace[@]}" -cpu max -m "$memory" -smp 1 \
        -display none -serial stdio -monitor none -no-reboot -nic none \
        -kernel "$cache/root/boot/vmlinuz-$version" -initrd "$work/initrd.gz" \
        -append "console=ttyS0 quiet loglevel=0 panic=-1 fw_devlink=off" \
        -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
        </dev/null 2>"$work/qemu.log" | sed -u 's/\r$//; s/\x1b\[[0-9;=]*[A-Za-z]//g'
}

pis=2 limit=300 memory=1024 isolate=0 accel=${WIFI_ACCEL:-tcg}
while getopts p:t:m:i option; do
    case $option in
    p) pis=$OPTARG ;;
    t) limit=$OPTARG ;;
    m) memory=$OPTARG ;;
    i) isolate=1 ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
(($# > 0)) || usage
[[ $(dpkg --print-architecture) == amd64 ]] || die "only for amd64 so far"
script=$(realpath "$1") || exit 1
shift
for program in qemu-system-x86_64 busybox cpio hostapd wpa_supplicant iw modprobe; do
    command -v "$program" >/dev/null || die "$program is missing: provisioning/packages.sh wifi"
done
work=$(mktemp -d /var/tmp/covey-wifi.XXXXXX)
trap 'rm -rf "$work"' EXIT
kernel_fetch "$cache"
version=$(ls "$cache/root/lib/modules")
write_initrd "$@"
boot | tee "$work/console" | grep --line-buffered -av -e '^vm-' -e SeaBIOS -e 'Booting from ROM' -e '^$' ||
    true
if [[ -n ${WIFI_OUT:-} ]]; then
    mkdir -p "$WIFI_OUT"
    sed -n 's/^vm-out //p' "$work/console" | base64 -d | tar xzf - -C "$WIFI_OUT"
fi
status=$(sed -n 's/^vm-exit \([0-9]*\)$/\1/p' "$work/console" | tail -1)
if [[ -z $status ]]; then
    echo "vm.sh: the machine ended, or $limit s were over, before the script did" >&2
    cat "$work/qemu.log" >&2
fi
exit "${status:-124}"
