# slow-cd-linux: media change and eject, by the monitor and by the guest, on IDE, AHCI and SCSI drives.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v socat >/dev/null || skip "no socat"
need_kernel
gcc -static -O1 -o "$tmp/cdctl" "$QUERN_SRC/tests/sh/lib/cdctl.c" 2>/dev/null || skip "no static C library"
cat > "$tmp/script" <<'S'
sum() { sha256sum $1 2>/dev/null | cut -c1-16; }
step() { echo "step $1"; read answer < /dev/ttyS0; }
for d in sr0 sr1 sr2; do echo "first $(sum /dev/$d)"; done
step changed
for d in sr0 sr1 sr2; do echo "second $(sum /dev/$d)"; done
for d in sr0 sr1 sr2; do /lib/cdctl /dev/$d eject; /lib/cdctl /dev/$d status; done
step opened
for d in sr0 sr1 sr2; do /lib/cdctl /dev/$d close; sleep 1; echo "third $(sum /dev/$d)"; done
for d in sr0 sr1 sr2; do /lib/cdctl /dev/$d lock; done
step locked
for d in sr0 sr1 sr2; do /lib/cdctl /dev/$d unlock; done
step unlocked
for d in sr0 sr1 sr2; do dd if=/dev/$d of=/dev/null bs=2k count=1 2>/dev/null || echo "empty $d"; done
dmesg | grep -iE "oops|bug:|call trace"
poweroff -f
S
EXTRA="$tmp/cdctl" initramfs "$tmp/script" ata_piix ahci virtio_pci virtio_scsi sr_mod
for n in 1 2; do head -c $((n * 1024))K /dev/urandom > "$tmp/cd$n"; done
timeout 200 "$QUERN" -display none -serial "unix:$tmp/port,server=on,wait=on" -monitor "unix:$tmp/mon,server=on,wait=off" -nic none -m 256 \
    -vga none -nodefaults -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" -accel jit \
    -drive "if=none,id=a,file=$tmp/cd1,format=raw,media=cdrom" -device ide-cd,drive=a,bus=ide.1,unit=0 \
    -device ahci,id=ahci0 -drive "if=none,id=b,file=$tmp/cd1,format=raw,media=cdrom" -device ide-cd,drive=b,bus=ahci0.1 \
    -object iothread,id=io0 -device virtio-scsi-pci,id=s,iothread=io0 -drive "if=none,id=c,file=$tmp/cd1,format=raw,media=cdrom" -device scsi-cd,drive=c,bus=s.0 </dev/null &
pid=$!
for i in $(seq 100); do [ -S "$tmp/port" ] && break; sleep 0.1; done
mkfifo "$tmp/keys"
socat - "UNIX-CONNECT:$tmp/port" < "$tmp/keys" > "$tmp/serial" &
exec 3> "$tmp/keys"
hmp() { (echo "$1"; sleep 0.3) | socat -t 1 - "UNIX-CONNECT:$tmp/mon" >> "$tmp/hmp" 2>&1; }
wait_for() { for i in $(seq 500); do grep -aq "$1" "$tmp/serial" && return 0; kill -0 $pid 2>/dev/null || break; sleep 0.2; done
    kill $pid 2>/dev/null; cat "$tmp/hmp"; fail "never came: $1"; }
sum() { sha256sum < "$1" | cut -c1-16; }
thrice() { [ "$(grep -ac "$1" "$tmp/serial")" = 3 ] || { kill $pid; cat "$tmp/hmp"; fail "not three times: $1"; }; }
wait_for "step changed"; thrice "first $(sum "$tmp/cd1")"
for d in a b c; do hmp "change $d $tmp/cd2 raw"; done
printf '\n' >&3
wait_for "step opened"; thrice "second $(sum "$tmp/cd2")"; thrice "eject: 0"; thrice "status: 2"
printf '\n' >&3
wait_for "step locked"; thrice "third $(sum "$tmp/cd2")"; thrice " lock: 0"
for d in a b c; do hmp "eject $d"; done
[ "$(grep -c "is locked" "$tmp/hmp")" = 3 ] || { kill $pid; cat "$tmp/hmp"; fail "a locked tray gave its medium away"; }
printf '\n' >&3
wait_for "step unlocked"
for d in a b c; do hmp "eject $d"; done
printf '\n' >&3
wait_for "empty sr2"; thrice "empty sr"
exec 3>&-
rc=0; wait $pid || rc=$?
[ $rc = 0 ] || fail "exit status $rc"
