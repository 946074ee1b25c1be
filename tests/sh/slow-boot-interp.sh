# slow-boot-interp: the same guest on the interpreter, with one and two CPUs; then a reboot is seen as one.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
echo 'poweroff -f' > "$tmp/script"
initramfs "$tmp/script"
for cpus in 1 2; do
    boot_linux 300 -accel interp -smp $cpus
    [ $rc = 0 ] || fail "$cpus CPUs: exit status $rc"
    grep -q "on $cpus CPU" "$tmp/serial" || fail "the guest does not see $cpus CPUs"
done
echo 'reboot -f' > "$tmp/script"
initramfs "$tmp/script"
boot_linux 300 -accel interp -no-reboot
[ $rc = 0 ] || fail "reboot with -no-reboot: exit status $rc"
