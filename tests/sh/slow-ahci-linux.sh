# slow-ahci-linux: Debian's ahci driver reads and writes disks and a CD on both software engines, with checksums.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
cat > "$tmp/script" <<'S'
dmesg | grep "NCQ (depth 32)"
sha256sum /dev/sda /dev/sr0
dd if=/dev/sda of=/dev/sdb bs=64k oflag=direct 2>/dev/null
for i in 1 2 3 4 5 6 7 8; do dd if=/dev/sdb of=/dev/null bs=4k count=100 skip=$((i * 120)) iflag=direct 2>/dev/null & done; wait
dmesg | grep -iE "error|exception|fail" | grep -i ata
poweroff -f
S
initramfs "$tmp/script" ahci sd_mod sr_mod
head -c 4M /dev/urandom > "$tmp/a"; truncate -s 4M "$tmp/b"; head -c 2M /dev/urandom > "$tmp/cd"
for engine in jit interp; do
    truncate -s 0 "$tmp/b"; truncate -s 4M "$tmp/b"
    boot_linux 280 -accel $engine -device ahci,id=ahci0 \
        -drive "if=none,id=a,file=$tmp/a,format=raw" -device ide-hd,drive=a,bus=ahci0.0 \
        -drive "if=none,id=b,file=$tmp/b,format=raw" -device ide-hd,drive=b,bus=ahci0.3 \
        -drive "if=none,id=c,file=$tmp/cd,format=raw,media=cdrom" -device ide-cd,drive=c,bus=ahci0.5
    [ $rc = 0 ] || fail "$engine: exit status $rc"
    for f in a cd; do
        grep -q "$(sha256sum < "$tmp/$f" | cut -c1-64)" "$tmp/serial" || fail "$engine: wrong content of $f"
    done
    cmp "$tmp/a" "$tmp/b" || fail "$engine: the copy differs"
    grep -q "NCQ (depth 32)" "$tmp/serial" || fail "$engine: no NCQ"
    grep -aE "exception|failed command" "$tmp/serial" && fail "$engine: errors"
done
exit 0
