# slow-gdb: the real GDB on a bare-metal guest under every engine, on a Linux kernel from its first instruction with two
# processors, and a peer that sends anything.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
command -v gdb >/dev/null || skip "no gdb"
"$QUERN_SRC/tests/guests/build.sh" "$tmp/g" >/dev/null 2>&1 || skip "no compiler for 32-bit code"
n=0 bad=0
check() { n=$((n + 1)); if [ "$2" = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; bad=1; fi; }
has() { grep -aq -- "$2" "$tmp/gdb"; check "$1" $?; }
wait_socket() { for i in $(seq 100); do [ -S "$1" ] && return 0; sleep 0.1; done; return 1; }
gdb_cmds() { # SOCKET line...
    sock=$1; shift; printf '%s\n' "$@" > "$tmp/cmds"
    timeout 400 gdb -q -batch -nx -ex "set confirm off" -ex "set pagination off" -ex "target remote $sock" -x "$tmp/cmds" > "$tmp/gdb" 2>&1 </dev/null
}

bare() {        # ENGINE
    rm -f "$tmp/sock" "$tmp/out"
    timeout 300 "$QUERN" -accel "$1" -cpu pentium3 -m 64 -nodefaults -serial null -display none -net none \
        -device isa-debug-exit,iobase=0xf4 -bios "$tmp/g/excp32.rom" -debugcon "file:$tmp/out" -monitor none \
        -S -gdb "unix:$tmp/sock" </dev/null >/dev/null 2>&1 &
    pid=$!
    wait_socket "$tmp/sock"
    gdb_cmds "$tmp/sock" "file $tmp/g/excp32.elf" 'p/x $cs' 'break test' 'continue' 'x/2i $pc' 'stepi' 'stepi' 'p/x $cr0' \
        'watch *(int*)&last_eflags' 'continue' 'continue' 'set $ebx=0x1234' 'p/x $ebx' 'monitor info status' 'delete' \
        'hbreak say' 'continue' 'p $eip == (unsigned)&say' 'set {int}0x200000 = 0x55aa77cc' 'x/1xw 0x200000' 'delete' 'detach'
    wait $pid
    has "$1: registers" '= 0xf000'
    has "$1: a breakpoint in code that is loaded later" '^Breakpoint 1, .* in test ()'
    has "$1: memory is shown without the trap" '<test>:.*push'
    has "$1: control registers" '= 0x60000011'
    has "$1: watchpoint" '^Old value = 65606'
    has "$1: a register changed" '= 0x1234'
    has "$1: monitor command" 'VM status: paused'
    has "$1: hardware breakpoint" '^Breakpoint 3, .* in say ()'
    has "$1: memory changed" '0x55aa77cc'
    cmp -s "$tmp/out" "$QUERN_SRC/tests/guests/excp32.expected"; check "$1: the guest noticed nothing" $?
}
for e in interp jit; do bare $e; done
[ -w /dev/kvm ] && bare kvm

# Anything but the protocol: the guest must outlive it.
timeout 300 "$QUERN" -accel interp -m 32 -nodefaults -serial null -display none -net none -monitor none -S -gdb "unix:$tmp/bad" </dev/null &
pid=$!
wait_socket "$tmp/bad"
python3 - "$tmp/bad" <<'PY'
import random, socket, sys, time
random.seed(7)
def reach(timeout):
    for i in range(400):        # a busy host: the queue of peers may be full
        s = socket.socket(socket.AF_UNIX); s.settimeout(timeout)
        try:
            s.connect(sys.argv[1])
            return s
        except (BlockingIOError, socket.timeout):
            s.close(); time.sleep(0.05)
    sys.exit('nobody listens')
def talk(data):
    s = reach(0.05)
    try:
        s.sendall(data)
        s.recv(65536)
    except OSError: pass
    s.close()
def pack(p): return b'$' + p + b'#%02x' % (sum(p) & 255)
words = [b'g', b'G', b'G00', b'p', b'pffffffff', b'P1=', b'P0=' + b'zz' * 8, b'm', b'm0,ffffffffffffffff', b'mffffffffffffffff,10', b'M0,4:00',
         b'X0,ffff:', b'Z0,0,1', b'Z2,ffffffffffffffff,8', b'Z2,0,0', b'Z9,0,0', b'Z', b'z0', b'vCont', b'vCont;', b'vCont;s:99', b'vCont;c:-1;;',
         b'vCont;' + b's:1;' * 3000, b'qXfer:features:read:target.xml:ffffffff,10', b'qXfer:features:read:target.xml:0', b'qRcmd,', b'qRcmd,0', b'qRcmd,00ff41',
         b'qThreadExtraInfo,-1', b'Hg-5', b'Hgffffffffffff', b'H', b'T', b'TZ', b'QStartNoAckMode', b'qSupported:' + b'x' * 5000, b'A' * 100000, b'C', b'S', b'Cff;zz', b'!', b'?']
for w in words: talk(pack(w)); talk(pack(w)[:-2]); talk(pack(w)[:-3] + b'}}#')
for i in range(300):
    talk(b''.join(random.choice([pack(random.choice(words)), bytes(random.randrange(256) for _ in range(40)), b'+', b'-', b'\x03'])
                  for _ in range(random.randrange(1, 8))))
s = reach(30); s.sendall(pack(b'?'))
got = b''
while b'#' not in got:           # the acknowledgement may come alone
    more = s.recv(100)
    if not more: break
    got += more
sys.exit(0 if b'T' in got else 1)
PY
check "a peer that sends anything" $?
kill -0 $pid; check "quern is still there" $?
kill $pid; wait $pid

need_kernel
echo "grep -E ' (start_kernel|rest_init|do_exit|kernel_init|__x64_sys_sync)\$' /proc/kallsyms; poweroff -f" > "$tmp/script"
initramfs "$tmp/script"
timeout 200 "$QUERN" -display none -serial "file:$tmp/serial" -monitor null -nic none -m 256 -vga none -kernel "$KERNEL" \
    -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check nokaslr" </dev/null
addr() { tr -d '\r' < "$tmp/serial" | awk -v s="$1" '$3 == s { print "0x" $1 }'; }
[ -n "$(addr start_kernel)" ] || fail "no addresses from the guest"
echo 'sync; poweroff -f' > "$tmp/script"
initramfs "$tmp/script"
linux() {       # ENGINE
    rm -f "$tmp/sock"
    timeout 500 "$QUERN" -accel "$1" -display none -serial "file:$tmp/serial2" -monitor null -nic none -m 256 -vga none -smp 2 \
        -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check nokaslr" -S -gdb "unix:$tmp/sock" </dev/null 2>/dev/null &
    pid=$!
    wait_socket "$tmp/sock"
    gdb_cmds "$tmp/sock" "break *$(addr start_kernel)" 'continue' "p \$rip == $(addr start_kernel)" 'stepi' 'stepi' 'stepi' 'info threads' 'delete' \
        "hbreak *$(addr kernel_init)" 'continue' "p \$rip == $(addr kernel_init)" 'delete' "break *$(addr __x64_sys_sync)" 'continue' \
        'p/x $rip' 'info threads' 'thread 1' 'p/x $cr3 != 0' 'thread 2' 'p/x $efer' 'stepi' 'delete' 'continue'
    wait $pid; rc=$?
    has "$1: stops at start_kernel" 'Breakpoint 1, 0xf'
    [ "$(grep -c '^\$[12] = 1' "$tmp/gdb")" = 2 ]; check "$1: at the right addresses" $?
    has "$1: stops at kernel_init" 'Breakpoint 2, 0xf'
    has "$1: stops in a system call of a user program" 'Breakpoint 3, 0xf'
    has "$1: two processors as threads" 'Thread 2 (CPU 1'
    has "$1: EFER" '= 0x.*d01'
    has "$1: the guest goes on and ends" 'exited normally'
    [ $rc = 0 ]; check "$1: exit status $rc" $?
    [ $bad = 0 ] || sed 's/^/# /' "$tmp/gdb"
}
for e in ${GDB_ENGINES:-jit}; do linux $e; done
echo "1..$n"
exit $bad
