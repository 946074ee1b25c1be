# slow-boot-controllers: GRUB and a kernel start from a disk on each controller, chosen by bootindex over a decoy.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
. "$QUERN_SRC/tests/sh/lib/grubdisk.sh"
need_kernel; need_grub
cat > "$tmp/script" <<'S'
for d in sda sdb vda; do [ -b /dev/$d ] && echo "guest sees $d $(head -c 1048576 /dev/$d | sha256sum | cut -c1-16)"; done
poweroff -f
S
initramfs "$tmp/script" ata_piix ahci virtio_pci virtio_blk virtio_scsi sd_mod
cp "$KERNEL" "$tmp/vmlinuz"
serial='insmod serial
insmod echo
insmod linux
insmod multiboot
insmod halt
serial --unit=0 --speed=115200
terminal_output serial'
printf '%s\necho grub from $root\nlinux /vmlinuz console=ttyS0 quiet panic=-1\ninitrd /initrd\nboot\n' "$serial" > "$tmp/cfg"
truncate -s 32M "$tmp/disk"
grub_disk "$tmp/disk" "$tmp/cfg" "-T 65536 -h 16 -s 63" "$tmp/vmlinuz" "$tmp/initrd"
printf '%s\necho this is the decoy\nhalt\n' "$serial" > "$tmp/cfg"
truncate -s 4M "$tmp/decoy"
grub_disk "$tmp/decoy" "$tmp/cfg" "-T 8192 -h 16 -s 63"
want=$(head -c 1048576 "$tmp/disk" | sha256sum | cut -c1-16)
start() {
    rc=0; rm -f "$tmp/serial"
    timeout 150 "$QUERN" -display none -serial "file:$tmp/serial" -monitor null -nic none -m 256 -vga none -accel jit \
        -drive "if=none,id=decoy,file=$tmp/decoy,format=raw" -device ide-hd,drive=decoy,bus=ide.0,unit=0,bootindex=1 "$@" </dev/null || rc=$?
}
disk="if=none,id=disk,file=$tmp/disk,format=raw,snapshot=on"
check() {
    grep -q "guest sees [a-z]* $want" "$tmp/serial" || fail "$1"
    grep -q "grub from" "$tmp/serial" || fail "$1: not through GRUB"
    grep -q "decoy" "$tmp/serial" && fail "$1: the decoy started"
    [ $rc = 0 ] || fail "$1: exit status $rc"
    echo "# $1 boots"
}
start -drive "$disk" -device ide-hd,drive=disk,bus=ide.1,unit=1,bootindex=0; check ide
start -drive "$disk" -device ahci,id=ahci0 -device ide-hd,drive=disk,bus=ahci0.2,bootindex=0; check ahci
start -drive "$disk" -device virtio-blk-pci,drive=disk,bootindex=0; check virtio-blk
start -drive "$disk" -device virtio-scsi-pci,id=s -device scsi-hd,drive=disk,bus=s.0,scsi-id=3,lun=1,bootindex=0; check virtio-scsi
# A floppy holds no Linux kernel of today: a small multiboot one, and GRUB itself.
sh "$QUERN_SRC/tests/guests/build.sh" "$tmp" >/dev/null 2>&1
[ -f "$tmp/excp32.elf" ] || skip "no bare-metal guest for the floppy"
printf '%s\necho grub from $root\nmultiboot /excp32.elf\nboot\n' "$serial" > "$tmp/cfg"
truncate -s 1440K "$tmp/floppy"
grub_disk "$tmp/floppy" "$tmp/cfg" "-f 1440" "$tmp/excp32.elf"
truncate -s 2880K "$tmp/floppy288"
grub_disk "$tmp/floppy288" "$tmp/cfg" "-f 2880" "$tmp/excp32.elf"
for f in floppy floppy288; do
    start -drive "if=none,id=f,file=$tmp/$f,format=raw" -device floppy,drive=f,bootindex=0 -device isa-debug-exit,iobase=0xf4 \
        -debugcon "file:$tmp/e9"
    grep -q "grub from fd0" "$tmp/serial" || fail "$f: no GRUB"
    grep -q "^done" "$tmp/e9" || fail "$f: the guest did not end well"
    echo "# $f boots"
done
