# netmatrix: everything a Linux guest does with one network card, on the user network; sourced.
# NIC is the -device text, MODULE the guest's driver, MIB the size of the large transfers.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
. "$QUERN_SRC/tests/sh/lib/netguest.sh"
need_net_tools
add_program socat
start_peer
fwd=$(free_port); ufwd=$(free_port); bfwd=$(free_port); qfwd=$(free_port)
mkdir -p "$tmp/tftp"; head -c 3000001 /dev/urandom > "$tmp/tftp/boot.img"
tftp_sum=$(md5sum < "$tmp/tftp/boot.img" | cut -c1-32)
getent hosts deb.debian.org >/dev/null && dns=deb.debian.org || dns=
grep -q . /proc/net/if_inet6 2>/dev/null && v6=1 || v6=
if [ "$dns" ] && grep -q "^nameserver.*:" /etc/resolv.conf; then dns6=1; else dns6=; fi
cat > "$tmp/script" <<EOF
DATA=$DATA BARRIER=$BARRIER ECHO=$ECHO BYTES=$((MIB << 20)) TFTP_SUM=$tftp_sum DNS=$dns V6=$v6 DNS6=$dns6 MTU=${MTU:-}
EOF
cat >> "$tmp/script" <<'EOF'
ifconfig lo up
check() { name=$1; shift; if "$@"; then echo "ok $name $(cut -d' ' -f1 /proc/uptime)"; else echo "not ok $name"; fi; }
cat > /dhcp <<'SH'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet
route add default gw $router
echo "nameserver $dns" > /etc/resolv.conf
SH
chmod +x /dhcp; mkdir -p /etc
dhcp() { udhcpc -q -n -t 8 -T 2 -i eth0 -s /dhcp >/dev/null 2>&1 && ifconfig eth0 | grep -q "addr:10.0.2.15"; }
ask() { echo "$1" | socat -t 60 - TCP:${2:-10.0.2.2}:$DATA; }
get() { [ "$(ask "get $1" $2 | md5sum | cut -c1-32)" = "$(ask "sum $1" | cut -c1-32)" ]; }
repeat() { i=0; while [ $i -lt $1 ]; do cat /big; i=$((i + 1)); done; }
put() { # /big, $2 times, to the host, which answers the sum
    want="$(repeat ${2:-1} | md5sum | cut -c1-32) $(repeat ${2:-1} | wc -c)"
    [ "$( (echo put; repeat ${2:-1}) | socat -t 60 - TCP:${1:-10.0.2.2}:$DATA)" = "$want" ]
}
udp_echo() { # size, address
    head -c $1 /dev/urandom > /u; [ "$(socat -b 65536 -T 3 - UDP:$2:$ECHO < /u | md5sum)" = "$(md5sum < /u)" ]
}
many() {
    for i in $(seq 200); do (echo "line $i" | nc 10.0.2.2 $BARRIER > /c$i) & done
    wait
    good=0
    for i in $(seq 200); do [ "$(grep -c "^line $i\$" /c$i)" = 3 ] && good=$((good + 1)); done
    [ $good = 200 ] || { echo "$good of 200"; false; }
}
tftp_get() { tftp -b 1400 -g -r boot.img -l /t 10.0.2.2 && [ "$(md5sum < /t | cut -c1-32)" = $TFTP_SUM ]; }
slaac() { for i in $(seq 20); do ip -6 addr show dev eth0 | grep -q "fec0.*global\|fec0.*site" && return; sleep 0.5; done; false; }
ifconfig eth0 up
[ -z "$MTU" ] || check host-mtu [ "$(cat /sys/class/net/eth0/mtu)" = "$MTU" ]
check dhcp dhcp
check ping ping -c 3 -W 5 10.0.2.2
[ -z "$DNS" ] || check dns sh -c "nslookup $DNS | grep -q 'Address.*[0-9]'"
check tcp-small get 100
check fragments ping -c 2 -W 5 -s 6000 10.0.2.2
check udp udp_echo 900 10.0.2.2
check udp-fragments udp_echo 7000 10.0.2.2
check udp-largest udp_echo 60000 10.0.2.2
check tftp tftp_get
check connections-200 many
head -c 20000000 /dev/urandom > /big
check tcp-put put 10.0.2.2 $((BYTES / 20000000))
check tcp-get get $BYTES
ifconfig eth0 mtu 900
check mtu-900 get 3000000
check mtu-900-put put
check mtu-900-ping ping -c 2 -W 5 -s 3000 10.0.2.2
ifconfig eth0 mtu 1500
if [ "$V6" ]; then
    check ip6-address slaac
    check ip6-ping ping6 -c 2 -W 5 fec0::2
    check ip6-fragments ping6 -c 2 -W 5 -s 6000 fec0::2
    check ip6-udp udp_echo 900 [fec0::2]
    check ip6-udp-fragments udp_echo 7000 [fec0::2]
    check ip6-udp-largest udp_echo 60000 [fec0::2]
    [ -z "$DNS6" ] || check ip6-dns sh -c "nslookup $DNS fec0::3 | grep -q 'Address.*[0-9]'"
    check ip6-get get 5000000 [fec0::2]
    check ip6-put put [fec0::2]
fi
socat TCP-LISTEN:7000,fork,reuseaddr SYSTEM:'md5sum' &
socat -T 5 UDP-LISTEN:7001,fork,reuseaddr SYSTEM:'cat' &
socat TCP-LISTEN:7002,fork,reuseaddr OPEN:/big &
echo "big $(md5sum < /big | cut -c1-32)"
(sleep 1; echo "guest waits") &
socat -u TCP-LISTEN:7003 - >/dev/null
ifconfig eth0 | grep packets
echo "all done"
poweroff -f
EOF
ROOT=$tmp/root initramfs "$tmp/script" $MODULE ipv6
rc=0
timeout "${LIMIT:-300}" "$QUERN" -display none -serial "file:$tmp/serial" -monitor null -vga none -m 512 -accel "${ACCEL:-jit}" \
    -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check net.ifnames=0" -device "$NIC,netdev=n" \
    -netdev "user,id=n,tftp=$tmp/tftp,hostfwd=tcp:127.0.0.1:$fwd-:7000,hostfwd=udp:127.0.0.1:$ufwd-:7001,hostfwd=tcp:127.0.0.1:$bfwd-:7002,hostfwd=tcp:127.0.0.1:$qfwd-:7003" \
    </dev/null & guest=$!
while ! grep -q "guest waits" "$tmp/serial" 2>/dev/null; do
    kill -0 $guest 2>/dev/null || fail "the guest ended early"
    sleep 0.5
done
check() { name=$1; shift; if "$@"; then echo "ok $name"; else echo "not ok $name"; fi; }
forward_in() { [ "$(socat -t 60 - "TCP:127.0.0.1:$fwd" < "$tmp/data" | cut -c1-32)" = "$(md5sum < "$tmp/data" | cut -c1-32)" ]; }
forward_out() {
    [ "$(socat -u -t 60 "TCP:127.0.0.1:$bfwd" - | md5sum | cut -c1-32)" = "$(sed -n 's/^big \([0-9a-f]*\).*/\1/p' "$tmp/serial")" ]
}
forward_udp() { [ "$(echo datagram | socat -T 3 - "UDP:127.0.0.1:$ufwd")" = datagram ]; }
head -c $((MIB << 20)) /dev/urandom > "$tmp/data"
{ check hostfwd-in forward_in; check hostfwd-out forward_out; check hostfwd-udp forward_udp; } > "$tmp/hostside"
echo | socat - "TCP:127.0.0.1:$qfwd" || true
wait $guest || rc=$?
cat "$tmp/hostside" >> "$tmp/serial"
grep -a "ok \|packets\| of 200" "$tmp/serial"
[ $rc = 0 ] || fail "exit status $rc"
! grep -q "^not ok" "$tmp/serial" || fail "a check failed"
grep -q "all done" "$tmp/serial" && grep -q "^ok tcp-get" "$tmp/serial" || fail "the guest did not finish"
