# slow-input: keyboards, mice and tablets on USB (behind a hub) and virtio in Debian's kernel; EDID of VGA and bochs-display.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
command -v socat >/dev/null || skip "no socat"
cat > "$tmp/script" <<'GUEST'
sleep 5
for e in /sys/class/input/event*; do
    n=$(cat $e/device/name)
    (timeout 14 cat /dev/input/${e##*/} | od -An -v -t u2 -w24 | while read -r a b c d e f g h type code value rest; do
        echo "EV $n: $type $code $value"; done) &
done
for c in /sys/class/drm/card*-*; do echo "EDID ${c##*/} $(od -An -v -t x1 $c/edid | tr -d ' \n' | cut -c1-20)"; done
echo "INPUT READY"
wait
echo "INPUT DONE"
poweroff -f
GUEST
initramfs_with() { "$QUERN_SRC/scripts/make-initramfs.sh" "$tmp/initrd" "$tmp/script" uhci_hcd usbhid hid_generic virtio_pci \
    virtio_input evdev bochs || skip "no initramfs"; }
initramfs_with
say() { echo "$1" | socat - "UNIX-CONNECT:$tmp/mon" >/dev/null; sleep 0.4; }
try() {         # NAME quern-options...
    name=$1; shift; rm -f "$tmp/serial"
    timeout 240 "$QUERN" -accel tcg -display none -serial "file:$tmp/serial" -monitor "unix:$tmp/mon,server=on,wait=off" \
        -nic none -m 512 -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" "$@" </dev/null &
    pid=$!
    for i in $(seq 180); do grep -q "INPUT READY" "$tmp/serial" 2>/dev/null && break; sleep 1; done
    say "sendkey x"; say "sendkey shift-f5"; say "mouse_move 320 200"; say "mouse_move 64 32"; say "mouse_button 1"; say "mouse_button 0"
    for i in $(seq 60); do grep -q "INPUT DONE" "$tmp/serial" && break; sleep 1; done
    rc=0; wait $pid || rc=$?
    [ $rc = 0 ] || fail "$name: exit status $rc"
}
expect() { grep -q "$1" "$tmp/serial" || fail "$name: no '$1' in the guest"; }
keyboard() { expect "EV $1: 1 45 1"; expect "EV $1: 1 45 0"; expect "EV $1: 1 42 1"; expect "EV $1: 1 63 1"; }

try usb -usb -device usb-hub -device usb-kbd -device usb-mouse
keyboard "quern USB Keyboard"
expect "EV quern USB Mouse: 2 0 64"; expect "EV quern USB Mouse: 2 1 32"; expect "EV quern USB Mouse: 1 272 1"
expect "EDID .* 00ffffffffffff00"
try usb-tablet -usb -device usb-tablet -vga none -device bochs-display
expect "EV quern USB Tablet: 3 0 [1-9]"; expect "EV quern USB Tablet: 3 1 [1-9]"; expect "EV quern USB Tablet: 1 272 1"
expect "EDID .* 00ffffffffffff00"
try virtio -device virtio-keyboard-pci -device virtio-mouse-pci
keyboard "quern Virtio Keyboard"
expect "EV quern Virtio Mouse: 2 0 64"; expect "EV quern Virtio Mouse: 2 1 32"; expect "EV quern Virtio Mouse: 1 272 0"
try virtio-tablet -device virtio-tablet-pci
expect "EV quern Virtio Tablet: 3 0 [1-9]"; expect "EV quern Virtio Tablet: 1 272 1"
