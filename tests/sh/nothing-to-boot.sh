# nothing-to-boot: an empty disk, or none: the user is told what the firmware tried.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
truncate -s 4M "$tmp/empty.img"
run() { # SECONDS options...: starts quern until it says something
    timeout "$@" </dev/null >"$tmp/out" 2>&1 &
    pid=$!
    for _ in $(seq 300); do
        grep -q "nothing to boot" "$tmp/out" && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.2
    done
    kill $pid 2>/dev/null
    wait $pid
    grep -q "found nothing to boot" "$tmp/out" || { cat "$tmp/out"; fail "nobody was told"; }
}
run 60 "$QUERN" -accel tcg -m 64 -display none -nic none -monitor null -serial null
run 60 "$QUERN" -accel tcg -m 64 -display none -nic none -monitor null -serial null -vga none \
    -drive file="$tmp/empty.img",format=raw
grep -q "Hard Disk: not a bootable disk" "$tmp/out" || { cat "$tmp/out"; fail "the reason is missing"; }
# The small SeaBIOS copies itself right after the port write that makes its memory writable.
if [ -e /usr/share/seabios/bios.bin ]; then
    run 60 "$QUERN" -accel tcg -m 64 -display none -nic none -monitor null -serial null -vga none -bios bios.bin
fi
