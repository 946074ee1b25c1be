# monitor: HMP commands over a unix socket: texts scripts match, memory and ports, save and load.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v socat >/dev/null || skip "no socat"
"$QUERN" -display none -nodefaults -machine pc -accel interp -m 16 -S -name guest1 \
    -monitor "unix:$tmp/mon,server,nowait" -gdb "unix:$tmp/gdbserver" </dev/null &
pid=$!
for i in $(seq 100); do [ -S "$tmp/mon" ] && break; sleep 0.1; done
n=0 bad=0
hmp() { (echo "$1"; sleep 0.4) | socat -t 2 - "UNIX-CONNECT:$tmp/mon" | tr -d '\r'; }
check() { n=$((n + 1)); if hmp "$1" | grep -qF -- "$2"; then echo "ok $n - $1"; else echo "not ok $n - $1"; bad=1; fi; }
check "info status" "VM status: paused (prelaunch)"
check "info name" "guest1"
check "info chardev" "unix:$tmp/gdbserver,server"
check "info cpus" "* CPU #0: thread_id="
check "info registers" "CPL=0"
check "xp /2xb 0xfffffff0" "0xea"
check "p/x (1<<4)|3" "0x13"
check "p /x \$eip" "0xfff0"
check "info mtree -f" "FlatView"
check "info qtree" "dev: piix3-ide"
check "o /b 0x80 0x12" "(qemu)"
check "sysem_reset" "did you mean 'system_reset'?"
check "savevm $tmp/state" "(qemu)"
check "loadvm $tmp/state" "(qemu)"
check "loadvm $tmp/nosuch" "Error:"
check "device_add isa-debug-exit" "(qemu)"
check "help sendkey" "sendkey"
check "netdev_add usr,id=n1" "did you mean 'user'?"
check "netdev_add user,id=n1" "(qemu)"
check "netdev_add user,id=n1" "already a network back-end 'n1'"
check "device_add e1000,id=e1,netdev=n1" "(qemu)"
check "info network" "n1: index=0,type=user"
check "object_add filter-dump,id=d,netdev=n1,file=$tmp/cap" "(qemu)"
check "object_add filter-buffer,id=b,netdev=n1,interval=1000" "(qemu)"
check "object_add filter-throttle,id=t,netdev=n1" "needs rate="
check "object_add filter-throttle,id=t,netdev=n1,rate=1M,frames=64,queue=tx" "(qemu)"
check "object_del t" "(qemu)"
check "announce_self" "(qemu)"
check "announce_self e1" "(qemu)"
check "announce_self nosuch" "there is no network card 'nosuch'"
check "object_del d" "(qemu)"
check "object_del d" "there is no object 'd'"
check "netdev_del n1" "(qemu)"
check "netdev_del n1" "there is no netdev 'n1'"
echo "1..$n"
hmp quit >/dev/null
wait $pid || { echo "exit status $?"; bad=1; }
exit $bad
