# slow-stop-linux: a write the host cannot take stops the machine; its state is saved and loaded, here and in a new process, and after cont the write is done.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v socat >/dev/null && command -v prlimit >/dev/null || skip "no socat or prlimit"
need_kernel
cat > "$tmp/script" <<'S2'
d=/dev/vda; [ -b $d ] || d=/dev/sda
echo "guest ready"
head -c 3145728 /dev/urandom > /tmp/data
dd if=/tmp/data of=$d bs=64k seek=24000 oflag=direct conv=notrunc 2>/dev/null && echo "wrote $(sha256sum < /tmp/data | cut -c1-16)"
dd if=$d bs=64k skip=24000 count=48 iflag=direct 2>/dev/null | sha256sum | cut -c1-16
dmesg | grep -iE "i/o error|oops|bug:|call trace|hung"
poweroff -f
S2
initramfs "$tmp/script" virtio_pci virtio_blk virtio_scsi sd_mod
hmp() { (echo "$1"; sleep 0.3) | socat -t 1 - "UNIX-CONNECT:$tmp/mon" 2>&1; }
die() { kill "$pid" 2>/dev/null; fail "$1"; }
# Above 1 GiB files cannot grow: the raw disk is longer than that.
start() {
    ( trap '' XFSZ; ulimit -S -f 1048576; exec timeout 120 "$QUERN" -display none -serial "file:$1" -monitor "unix:$tmp/mon,server=on,wait=off" \
        -nic none -m 192 -vga none -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" -accel jit \
        -drive "if=none,id=d,file=$tmp/disk,format=raw,werror=stop,rerror=stop" -object iothread,id=io0 $devices $2 ) </dev/null &
    pid=$!
}
stopped() { for i in $(seq 900); do [ -S "$tmp/mon" ] && hmp "info status" | grep -q "io-error" && return 0
    kill -0 $pid 2>/dev/null || break; sleep 0.2; done; die "$1: the machine did not stop"; }
release() { for p in $(pgrep -P $pid) $pid; do prlimit --pid "$p" --fsize=unlimited; done; }
try() {
    name=$1 devices=$2; rm -f "$tmp/disk" "$tmp/state" "$tmp/mon"; truncate -s 3G "$tmp/disk"; : > "$tmp/serial"; : > "$tmp/serial2"
    start "$tmp/serial" ""
    stopped "$name"
    hmp "savevm $tmp/state" >/dev/null
    for i in $(seq 100); do [ -s "$tmp/state" ] && break; sleep 0.2; done
    [ -s "$tmp/state" ] || die "$name: no state"
    grep -aq wrote "$tmp/serial" && die "$name: the write ended before the host took it"
    if [ "$3" = here ]; then
        hmp "loadvm $tmp/state" >/dev/null
        out=$tmp/serial
    else
        hmp quit >/dev/null; wait $pid || true; rm -f "$tmp/mon"
        start "$tmp/serial2" "-S -loadvm $tmp/state"
        for i in $(seq 100); do [ -S "$tmp/mon" ] && break; sleep 0.1; done
        out=$tmp/serial2
    fi
    release
    hmp cont >/dev/null
    rc=0; wait $pid || rc=$?
    [ $rc = 0 ] || fail "$name: exit status $rc"
    sum=$(sed -n 's/.*wrote \([0-9a-f]*\).*/\1/p' "$out")
    [ -n "$sum" ] && [ "$(dd if="$tmp/disk" bs=64k skip=24000 count=48 2>/dev/null | sha256sum | cut -c1-16)" = "$sum" ] ||
        { cat "$out"; fail "$name: what was written is not there"; }
    grep -aiE "i/o error|oops|bug:|call trace|hung" "$out" && fail "$name: the guest complains"
    echo "# $name goes on ($3)"
}
for where in here anew; do
    try "virtio-blk" "-device virtio-blk-pci,drive=d" $where
    try "virtio-blk, packed ring, I/O thread" "-device virtio-blk-pci,drive=d,packed=on,iothread=io0" $where
    try "virtio-scsi" "-device virtio-scsi-pci,id=s -device scsi-hd,drive=d,bus=s.0" $where
    try "virtio-scsi, I/O thread" "-device virtio-scsi-pci,id=s,iothread=io0 -device scsi-hd,drive=d,bus=s.0" $where
done
exit 0
