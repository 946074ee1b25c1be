# slow-trim-linux: fstrim and blkdiscard of Linux give the host its blocks back through every controller; smartctl likes the disks.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
. "$QUERN_SRC/tests/sh/lib/netguest.sh"
need_kernel
add_program mkfs.ext4 fstrim blkdiscard || skip "no e2fsprogs or util-linux"
add_program smartctl && smart=1 || smart=
mv "$tmp/root/bin" "$tmp/root/opt"      # busybox puts its own into /bin
export ROOT="$tmp/root"
cat > "$tmp/script" <<'S2'
mkdir -p /mnt
for d in vda sda sdb sdc; do
    n=$d.$(cat /sys/block/$d/size)
    /opt/mkfs.ext4 -q -E nodiscard /dev/$d && mount -t ext4 /dev/$d /mnt || echo "no file system on $n"
    dd if=/dev/urandom of=/mnt/big bs=1M count=24 2>/dev/null; echo kept > /mnt/small; sync
    rm /mnt/big; sync
    /opt/fstrim /mnt && echo "trimmed $n"
    [ "$(cat /mnt/small)" = kept ] && umount /mnt
    dd if=/dev/urandom of=/dev/$d bs=1M seek=80 count=8 oflag=direct 2>/dev/null
    /opt/blkdiscard -f -z -o 83886080 -l 4194304 /dev/$d && echo "zeroed $n"
    echo "left $n $(dd if=/dev/$d bs=1M skip=80 count=4 iflag=direct 2>/dev/null | tr -d '\000' | wc -c) $(dd if=/dev/$d bs=1M skip=84 count=4 iflag=direct 2>/dev/null | tr -d '\000' | wc -c | sed 's/4[0-9]*/some/')"
done
for d in sda sdb sdc; do
    /opt/smartctl -H /dev/$d > /tmp/s 2>&1; grep -qE "PASSED|Health Status: OK" /tmp/s && echo "smart $(cat /sys/block/$d/size) passed"
    /opt/smartctl -a /dev/$d > /tmp/s 2>&1; grep -E "^  9 Power_On|^ 12 Power_Cycle|^194 Temp|Serial Number|Serial number|Device Model" /tmp/s
done
dmesg | grep -iE "i/o error|oops|bug:|call trace"
poweroff -f
S2
initramfs "$tmp/script" virtio_pci virtio_blk virtio_scsi sd_mod ata_piix ahci ext4
"$QUERN" img create -q -f qcow2 "$tmp/blk" 100M; "$QUERN" img create -q -f qcow2 -o cluster_size=4k,extended_l2=off "$tmp/scsi" 101M
truncate -s 102M "$tmp/ide"; truncate -s 103M "$tmp/ahci"
boot_linux 280 -accel jit -drive "if=none,id=a,file=$tmp/blk,format=qcow2,discard=unmap" -device virtio-blk-pci,drive=a \
    -drive "if=none,id=b,file=$tmp/scsi,format=qcow2,discard=unmap" -device virtio-scsi-pci,id=s -device scsi-hd,drive=b,bus=s.0,serial=S1 \
    -drive "if=none,id=c,file=$tmp/ide,format=raw,discard=unmap" -device ide-hd,drive=c,bus=ide.0,serial=S2 \
    -drive "if=none,id=d,file=$tmp/ahci,format=raw,discard=unmap" -device ahci,id=ahci0 -device ide-hd,drive=d,bus=ahci0.0,serial=S3
[ $rc = 0 ] || fail "exit status $rc"
has() { [ "$(grep -ac "$1" "$tmp/serial")" = "$2" ] || fail "not $2 times: $1"; }
has "^trimmed" 4; has "^zeroed" 4; has "^left.* 0 some" 4
[ -z "$smart" ] || { has "^smart.*passed" 3; has "Power_Cycle" 2; has "Serial [Nn]umber" 3; }
grep -aiE "i/o error|oops|bug:|call trace|no file system" "$tmp/serial" && fail "the guest complains"
# 24 MiB were written and trimmed: a file system's own blocks, 4 MiB that were left, and the small file remain.
for f in blk scsi ide ahci; do
    kib=$(du -k "$tmp/$f" | cut -f1)
    [ "$kib" -lt 18000 ] || fail "$f still takes $kib KiB"
    echo "# $f takes $kib KiB"
done
for f in blk scsi; do "$QUERN" img check -q "$tmp/$f" || fail "$f does not check"; done
