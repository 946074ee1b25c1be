# slow-floppy-linux: Linux's floppy driver reads, writes and formats.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
gcc -static -O1 -o "$tmp/fdfmt" "$QUERN_SRC/tests/sh/lib/fdfmt.c" 2>/dev/null || skip "no static C library"
cat > "$tmp/script" <<'S'
sha256sum /dev/fd0
dd if=/dev/fd0 of=/dev/fd1 bs=18k 2>/dev/null
sync; echo 3 > /proc/sys/vm/drop_caches
cmp /dev/fd0 /dev/fd1 && echo "copy is the same"
/lib/fdfmt /dev/fd0
dmesg | grep -E "fd[01]|floppy[01]"
poweroff -f
S
EXTRA="$tmp/fdfmt" initramfs "$tmp/script" floppy
head -c 1440K /dev/urandom > "$tmp/a"; cp "$tmp/a" "$tmp/orig"; truncate -s 1440K "$tmp/b"
boot_linux 280 -accel jit -drive "if=floppy,file=$tmp/a,format=raw" -drive "if=floppy,index=1,file=$tmp/b,format=raw"
[ $rc = 0 ] || fail "exit status $rc"
grep -q "$(sha256sum < "$tmp/orig" | cut -c1-64)" "$tmp/serial" || fail "wrong content read"
grep -q "copy is the same" "$tmp/serial" || fail "the guest's copy differs"
cmp "$tmp/orig" "$tmp/b" || fail "the copy differs"
grep -q "formatted 80 tracks" "$tmp/serial" || fail "formatting failed"
[ "$(tr -d '\366' < "$tmp/a" | wc -c)" = 0 ] || fail "the formatted disk is not blank"
