# boot: what the boot tests share; sourced. Needs QUERN, QUERN_SRC (scripts/run-tests.py sets them).
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
skip() { echo "skipped: $*"; exit 77; }
fail() { echo "failed: $*"; [ ! -f "$tmp/serial" ] || tail -25 "$tmp/serial"; exit 1; }
KERNEL=$(ls /boot/vmlinuz-*-amd64 2>/dev/null | sort -V | tail -1)
need_kernel() { [ -r "$KERNEL" ] || skip "no readable kernel: apt-get install linux-image-amd64"; }
# initramfs SCRIPT [module...]
initramfs() { "$QUERN_SRC/scripts/make-initramfs.sh" "$tmp/initrd" "$@" || skip "no initramfs"; }
# no_timer_check: on a starved host Linux misses ticks in the 40 ms it gives the timer, and panics; slow-boot-controllers and the CDs boot with the check.
# boot_linux SECONDS quern-options...: runs the kernel with $tmp/initrd; serial output in $tmp/serial; status in $rc.
boot_linux() {
    secs=$1; shift; rc=0
    timeout "$secs" "$QUERN" -display none -serial "file:$tmp/serial" -monitor null -nic none -m 256 -vga none \
        -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check ${APPEND:-}" "$@" </dev/null || rc=$?
}
