#!/bin/sh
# make-initramfs: a busybox initramfs for boot tests, from Debian's busybox-static.
# usage: make-initramfs.sh OUT [script [module...]]; script runs as part of /init (default: a shell on ttyS0);
# EXTRA names files for its /lib, ROOT a folder that is copied into its root; modules of the newest installed amd64 kernel are loaded first, with what they depend on.
set -eu
out=$1 script=${2:-}
shift; [ $# = 0 ] || shift
bb=$(command -v busybox) || { echo "busybox is missing: apt-get install busybox-static" >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/dev" "$dir/proc" "$dir/sys" "$dir/tmp"
cp "$bb" "$dir/bin/busybox"
cat > "$dir/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
echo "quern guest: $(uname -r) on $(grep -c ^processor /proc/cpuinfo) CPU(s)"
for m in $(cat /modules.list 2>/dev/null); do insmod /lib/$m; done
[ -f /script ] && . /script
exec setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
INIT
chmod +x "$dir/init"
version=$(ls /boot/vmlinuz-*-amd64 2>/dev/null | sort -V | tail -1 | sed 's,.*/vmlinuz-,,')
mkdir -p "$dir/lib"
for m in "$@"; do
    /sbin/modprobe -S "$version" --show-depends "$m" | while read -r kind file rest; do
        name=$(basename "$file")
        [ "$kind" = insmod ] && [ ! -f "$dir/lib/$name" ] || continue
        cp "$file" "$dir/lib/$name"
        echo "$name" >> "$dir/modules.list"
    done
done
[ -z "${ROOT:-}" ] || cp -a "$ROOT/." "$dir/"
[ -z "$script" ] || cp "$script" "$dir/script"
[ -z "${EXTRA:-}" ] || cp $EXTRA "$dir/lib/"
(cd "$dir" && find . | cpio -o -H newc --quiet 2>/dev/null | gzip -1) > "$out"
