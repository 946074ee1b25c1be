#!/bin/sh
# make-initramfs: a busybox initramfs for boot tests, from Debian's busybox-static.
# usage: make-initramfs.sh OUT [script]; script runs as part of /init (default: a shell on ttyS0).
set -eu
out=$1 script=${2:-}
bb=$(command -v busybox) || { echo "busybox is missing: apt-get install busybox-static" >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/dev" "$dir/proc" "$dir/sys" "$dir/tmp"
cp "$bb" "$dir/bin/busybox"
cat > "$dir/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
echo "quern guest: $(uname -r) on $(grep -c ^processor /proc/cpuinfo) CPU(s)"
[ -f /script ] && . /script
exec setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
INIT
chmod +x "$dir/init"
[ -z "$script" ] || cp "$script" "$dir/script"
(cd "$dir" && find . | cpio -o -H newc --quiet 2>/dev/null | gzip -1) > "$out"
