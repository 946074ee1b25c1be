# user-firmware: -option-rom runs, -acpitable reaches the guest's kernel.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
python3 - "$tmp/exit.rom" <<'PY'
import sys
rom = bytearray(512)
rom[:10] = bytes([0x55, 0xaa, 1, 0xb0, 0x2a, 0xba, 0x01, 0x05, 0xee, 0xcb])    # mov al,2ah; mov dx,501h; out dx,al; retf
rom[511] = -sum(rom) & 0xff
open(sys.argv[1], "wb").write(rom)
PY
rc=0
timeout 60 "$QUERN" -accel tcg -m 32 -display none -nic none -vga none -monitor null -serial null \
    -device isa-debug-exit -option-rom "$tmp/exit.rom" </dev/null || rc=$?
[ $rc = 85 ] || fail "the option ROM did not run: status $rc"

expect_error() { # TEXT options...
    text=$1; shift
    "$QUERN" -display none "$@" </dev/null 2>"$tmp/err" && fail "$*: no error"
    grep -q -- "$text" "$tmp/err" || { cat "$tmp/err"; fail "$*: expected '$text'"; }
}
printf 'quern user table' > "$tmp/body"
expect_error "longer than 4" -acpitable "sig=LONGER,data=$tmp/body"
expect_error "one of data=" -acpitable sig=QTST
expect_error "No such file" -acpitable "data=$tmp/missing"
expect_error "did you mean 'oem_id'" -acpitable "oemid=X,data=$tmp/body"

need_kernel
echo 'cat /sys/firmware/acpi/tables/QTST | tail -c 16; echo; head -c 16 /sys/firmware/acpi/tables/QTST | tail -c 6; poweroff -f' > "$tmp/script"
initramfs "$tmp/script"
boot_linux 120 -accel tcg -acpitable "sig=QTST,oem_id=HOUSE,data=$tmp/body"
[ $rc = 0 ] || fail "exit status $rc"
grep -q "quern user table" "$tmp/serial" || fail "the guest's kernel has no such table"
grep -q "HOUSE" "$tmp/serial" || fail "the header lacks oem_id"
