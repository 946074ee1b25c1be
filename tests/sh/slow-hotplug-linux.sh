# slow-hotplug-linux: virtio-blk cards and SCSI disks come and go under load, partly in an I/O thread, across a save and load.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v socat >/dev/null || skip "no socat"
need_kernel
SCSI=${SCSI-,iothread=io0}
rounds=${ROUNDS:-3}
cat > "$tmp/script" <<S
sum() { sha256sum "\$1" 2>/dev/null | cut -c1-16; }
gone() { while [ -b "\$1" ]; do sleep 0.1; done; }
echo "guest ready"
(while :; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; dd if=/dev/vda of=/dev/null bs=4k count=100 skip=50 2>/dev/null; done) &
load=\$!
for kind in vdb sda; do
    for n in \$(seq $rounds); do
        while [ ! -b /dev/\$kind ]; do sleep 0.1; done
        echo "got \$kind \$n \$(sum /dev/\$kind)"
        dd if=/dev/urandom of=/dev/\$kind bs=64k count=16 conv=fsync 2>/dev/null
        echo "wrote \$kind \$n \$(dd if=/dev/\$kind bs=64k count=16 iflag=direct 2>/dev/null | sha256sum | cut -c1-16)"
        dd if=/dev/\$kind of=/dev/null bs=4k iflag=direct 2>/dev/null &
        echo "drop \$kind \$n"
        gone /dev/\$kind
        echo "lost \$kind \$n"
    done
done
kill \$load
echo "base \$(sum /dev/vda)"
dmesg | grep -iE "oops|bug:|call trace|hung"
poweroff -f
S
initramfs "$tmp/script" virtio_pci virtio_blk virtio_scsi sd_mod
head -c 8M /dev/urandom > "$tmp/base"
timeout 280 "$QUERN" -display none -serial "file:$tmp/serial" -monitor "unix:$tmp/mon,server=on,wait=off" -nic none -m 256 -vga none \
    -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" -accel jit \
    -drive "if=none,id=base,file=$tmp/base,format=raw" -object iothread,id=io0 \
    -device virtio-blk-pci,drive=base,iothread=io0 -device "virtio-scsi-pci,id=s$SCSI" </dev/null &
pid=$!
hmp() { (echo "$1"; sleep 0.3) | socat -t 1 - "UNIX-CONNECT:$tmp/mon" >> "$tmp/hmp" 2>&1; }
wait_for() { for i in $(seq 600); do grep -aq "$1" "$tmp/serial" && return 0; kill -0 $pid 2>/dev/null || break; sleep 0.2; done
    kill $pid 2>/dev/null; cat "$tmp/hmp"; fail "never came: $1"; }
sum() { sha256sum < "$1" | cut -c1-16; }
wait_for "guest ready"
for kind in vdb sda; do
    for n in $(seq "$rounds"); do
        head -c 4M /dev/urandom > "$tmp/$kind$n"
        before=$(sum "$tmp/$kind$n")
        hmp "drive_add 0 if=none,id=d$kind$n,file=$tmp/$kind$n,format=raw"
        if [ $kind = vdb ]; then hmp "device_add virtio-blk-pci,drive=d$kind$n,id=x$kind$n$([ $((n % 2)) = 0 ] || echo ,iothread=io0)"
        else hmp "device_add scsi-hd,drive=d$kind$n,id=x$kind$n,bus=s.0,scsi-id=$n"; fi
        wait_for "got $kind $n"
        grep -aq "got $kind $n $before" "$tmp/serial" || fail "$kind $n: wrong content"
        wait_for "drop $kind $n"
        [ "$n" != 2 ] || { hmp "savevm $tmp/state"; hmp "loadvm $tmp/state"; }
        hmp "device_del x$kind$n"
        wait_for "lost $kind $n"
        after=$(head -c 1M "$tmp/$kind$n" | sha256sum | cut -c1-16)
        grep -aq "wrote $kind $n $after" "$tmp/serial" || fail "$kind $n: what was written is not there"
    done
done
wait_for "base"
rc=0; wait $pid || rc=$?
[ $rc = 0 ] || fail "exit status $rc"
grep -aq "base $(sum "$tmp/base")" "$tmp/serial" || fail "the disk under load is damaged"
grep -aiE "oops|bug:|call trace" "$tmp/serial" && fail "the guest kernel complains"
exit 0
