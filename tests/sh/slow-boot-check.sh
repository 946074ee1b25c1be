# slow-boot-check: Debian's kernel and busybox boot while the interpreter replays blocks beside the jit, without a difference.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
echo 'echo "sum $((6 * 7))"; sha256sum /bin/busybox | cut -c1-8; poweroff -f' > "$tmp/script"
initramfs "$tmp/script"
for opts in check=20 check=5,exact=on; do
    boot_linux 1200 -accel jit,$opts 2> "$tmp/err"
    grep -A60 "jit check" "$tmp/err" && fail "a difference with $opts"
    [ $rc = 0 ] || fail "$opts: exit status $rc"
    grep -q "sum 42" "$tmp/serial" || fail "$opts: no output of the guest's shell"
done
