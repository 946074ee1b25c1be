# slow-boot-cd: the Debian installer CD: BIOS and boot menu on the serial port, then the installer's language dialog.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v socat >/dev/null || skip "no socat"
"$QUERN_SRC/scripts/make-installer-cd.sh" "$tmp/cd.iso" || skip "no installer CD"
timeout 400 "$QUERN" -display none -machine graphics=off -accel tcg -m 1G -nic none -monitor null \
    -serial "unix:$tmp/port,server=on,wait=on" "$tmp/cd.iso" </dev/null &
pid=$!
for i in $(seq 100); do [ -S "$tmp/port" ] && break; sleep 0.1; done
mkfifo "$tmp/keys"
socat - "UNIX-CONNECT:$tmp/port" < "$tmp/keys" > "$tmp/serial" &
exec 3> "$tmp/keys"
wait_for() { for i in $(seq "$2"); do grep -aq "$1" "$tmp/serial" && return 0; sleep 1; done; return 1; }
result=0
wait_for "boot:" 100 || result=1
printf 'serial\r' >&3
wait_for "language" 250 || result=2
exec 3>&-
kill $pid; rc=0; wait $pid || rc=$?
[ $result = 0 ] || fail "step $result was not reached"
[ $rc = 0 ] || fail "exit status $rc after SIGTERM"
