# qmp: negotiation, errors, run control with its events, HMP pass-through, devices, over stdio.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
truncate -s 1M "$tmp/cd"
send() { printf '%s\n' "$1"; sleep 0.2; }
{
    send '{"execute": "query-status"}'
    send '{"execute": "qmp_capabilities", "id": 1}'
    send '{"execute": "query-status", "id": "a"}'
    send '{"execute": "cont"}'
    send '{"execute": "stop"} {"execute": "query-kvm"}'
    send '{"execute": "nosuch"}'
    send '{"execute": "device_del", "arguments": {"id": "nope"}}'
    send '{"execute": "device_add", "arguments": {"driver": "virtio-rgn-pci"}}'
    send '{"execute": "human-monitor-command", "arguments": {"command-line": "info status"}}'
    send '{"execute": "screendump", "arguments": {"wrong": 1}}'
    send '{"execute": "query-cpus-fast"}'
    send '{"execute": "query-machines"}'
    send '{"a": [1,2'
    send ']}'
    send '{"execute": "netdev_add", "arguments": {"type": "user", "id": "n1", "dnssearch": [{"str": "example.org"}]}, "id": "net"}'
    send '{"execute": "query-rx-filter", "id": "filter"}'
    send '{"execute": "eject", "arguments": {"device": "ide1-cd0"}}'
    send '{"execute": "quit"}'
    sleep 1
} | timeout 60 "$QUERN" -cdrom "$tmp/cd" -display none -nodefaults -machine pc -accel interp -m 16 -S -qmp stdio > "$tmp/out" 2>"$tmp/serial"
rc=$?
n=0 bad=0
check() { n=$((n + 1)); if grep -qE -- "$1" "$tmp/out"; then echo "ok $n - $1"; else echo "not ok $n - $1"; bad=1; fi; }
check '"QMP" ?:.*"major" ?: ?7'
check 'Expecting capabilities negotiation'
check '"return" ?: ?\{\}, ?"id" ?: ?1'
check '"status" ?: ?"prelaunch".*"id" ?: ?"a"'
check '"event" ?: ?"RESUME"'
check '"event" ?: ?"STOP"'
check '"class" ?: ?"CommandNotFound"'
check '"class" ?: ?"DeviceNotFound"'
check 'VM status: paused'
check "Parameter .filename. is missing"
check '"thread-id"'
check 'pc-i440fx'
check "lacks member 'execute'"
check '"event" ?: ?"SHUTDOWN"'
check '"event" ?: ?"DEVICE_TRAY_MOVED".*"device" ?: ?"ide1-cd0".*"tray-open" ?: ?true'
check '"return" ?: ?\{\}, ?"id" ?: ?"net"'
check '"return" ?: ?\[\], ?"id" ?: ?"filter"'
echo "1..$n"
[ $rc = 0 ] || { echo "exit status $rc"; bad=1; }
[ $bad = 0 ] || cat "$tmp/out"
exit $bad
