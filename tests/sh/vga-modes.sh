# vga-modes: a bare-metal guest draws in every VGA and VBE mode; each picture is compared with QEMU's of the same guest.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64 to compare with"
command -v python3 >/dev/null || skip "no python3"
"$QUERN_SRC/tests/guests/build.sh" "$tmp" 2>/dev/null || skip "no compiler for 16-bit code"
timeout 240 python3 "$QUERN_SRC/tests/sh/lib/vga-compare.py" "$tmp/vga16.img" "$tmp" "$QUERN -accel tcg" \
    "qemu-system-x86_64 -accel tcg"
