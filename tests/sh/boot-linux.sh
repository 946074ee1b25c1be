# boot-linux: Debian's kernel and a busybox initramfs boot, run commands and power off with status 0.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
echo 'echo "sum $((6 * 7))"; sha256sum /bin/busybox | cut -c1-8; poweroff -f' > "$tmp/script"
initramfs "$tmp/script"
want=$(sha256sum "$(command -v busybox)" | cut -c1-8)
boot_linux 120 -accel tcg
[ $rc = 0 ] || fail "exit status $rc"
grep -q "sum 42" "$tmp/serial" || fail "no output of the guest's shell"
grep -q "$want" "$tmp/serial" || fail "wrong checksum in the guest"
