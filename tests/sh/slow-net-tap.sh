# slow-net-tap: two queue pairs on a tap interface with offload headers: addresses, MTU-sized and large data, both ways.
if [ -z "${IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] && [ -w /dev/net/tun ] && unshare -n ip link show >/dev/null 2>&1 || { echo "skipped: no tap interface or network namespace here"; exit 77; }
    IN_NETNS=1 exec unshare -n bash "$0"
fi
. "$QUERN_SRC/tests/sh/lib/boot.sh"
. "$QUERN_SRC/tests/sh/lib/netguest.sh"
need_net_tools
ip link set lo up
add_program socat ethtool
start_peer
cat > "$tmp/up" <<EOF
#!/bin/sh
ip addr add 10.9.0.1/24 dev "\$1" && ip link set "\$1" up
EOF
chmod +x "$tmp/up"
echo "DATA=$DATA ECHO=$ECHO" > "$tmp/script"
cat >> "$tmp/script" <<'EOF'
ifconfig lo up; ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up
ethtool -L eth0 combined 2
check() { name=$1; shift; if "$@"; then echo "ok $name"; else echo "not ok $name"; fi; }
ask() { echo "$1" | socat -t 60 - TCP:10.9.0.1:$DATA; }
get() { [ "$(ask "get $1" | md5sum | cut -c1-32)" = "$(ask "sum $1" | cut -c1-32)" ]; }
put() {
    want="$(md5sum < /big | cut -c1-32) $(wc -c < /big)"
    [ "$( (echo put; cat /big) | socat -t 60 - TCP:10.9.0.1:$DATA)" = "$want" ]
}
udp_echo() { head -c $1 /dev/urandom > /u; [ "$(socat -b 65536 -T 3 - UDP:10.9.0.1:$ECHO < /u | md5sum)" = "$(md5sum < /u)" ]; }
check ping ping -c 2 -W 5 -s 4000 10.9.0.1
check pairs sh -c "ethtool -l eth0 | tail -4 | grep -q 'Combined:.*2'"
check tso sh -c "ethtool -k eth0 | grep -q 'tcp-segmentation-offload: on'"
check udp udp_echo 9000
head -c 30000000 /dev/urandom > /big
check get get 30000000
check put put
(get 20000000 && echo "ok get-a") & (get 20000000 && echo "ok get-b") & (put && echo "ok put-c") & wait
ethtool -K eth0 tso off tx off gro off 2>/dev/null
check get-plain get 10000000
check put-plain put
echo "all done"
poweroff -f
EOF
ROOT=$tmp/root initramfs "$tmp/script" virtio_pci virtio_net
forward() { # the host's side listens on loopback only
    while ! ip addr 2>/dev/null | grep -q 10.9.0.1; do sleep 0.2; done
    exec socat "$@"
}
forward -T 5 -b 65536 "UDP-LISTEN:$ECHO,bind=10.9.0.1,fork,reuseaddr" "UDP:127.0.0.1:$ECHO" & udp=$!
forward "TCP-LISTEN:$DATA,bind=10.9.0.1,fork,reuseaddr" "TCP:127.0.0.1:$DATA" & tcp=$!
trap 'kill $peer $udp $tcp 2>/dev/null; rm -rf "$tmp"' EXIT
rc=0
timeout "${LIMIT:-300}" "$QUERN" -display none -serial "file:$tmp/serial" -monitor null -vga none -m 512 -smp 2 -accel "${ACCEL:-jit}" \
    -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check net.ifnames=0" \
    -device virtio-net-pci,netdev=n,mq=on,vectors=6 -netdev "tap,id=n,queues=2,script=$tmp/up,downscript=no" </dev/null || rc=$?
grep -a "ok " "$tmp/serial" || true
[ $rc = 0 ] || fail "exit status $rc"
! grep -q "^not ok" "$tmp/serial" || fail "a check failed"
for c in pairs tso get put get-a get-b put-c put-plain; do grep -q "^ok $c" "$tmp/serial" || fail "$c is missing"; done
grep -q "all done" "$tmp/serial" || fail "the guest did not finish"
