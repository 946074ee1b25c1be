# slow-kvm-live: a running Linux guest with floating point and vector state in use goes from engine to engine: stopped and saved
# under one, resumed under the next, with signals, timers and the clock going on.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
trap '' PIPE             # the last program may be gone before it is told to quit
gcc -O2 -static -o "$tmp/livestate" "$QUERN_SRC/tests/guests/livestate.c" 2>/dev/null || skip "no compiler for static programs"
LINES=200 n=0 bad=0        # enough for a fast host: the program must not end before the last engine has it
check() { n=$((n + 1)); if [ "$2" = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; bad=1; fi; }
grep -q avx2 /proc/cpuinfo && vec= || vec=sse
"$tmp/livestate" $LINES 4000000 $vec > "$tmp/expected"
echo "/lib/livestate $LINES 4000000 $vec; poweroff -f" > "$tmp/script"
EXTRA=$tmp/livestate initramfs "$tmp/script"

lines() { grep -ac '^LIVE' "$tmp/serial" 2>/dev/null || true; }
leg() {         # ENGINE CPUS [quern-options...]: runs until three more lines have come or the program has ended
    engine=$1 cpus=$2; shift 2
    rm -f "$tmp/serial" "$tmp/fifo"; mkfifo "$tmp/fifo"
    timeout 900 "$QUERN" -accel "$engine" -cpu max,kvm=off -smp "$cpus" -display none -serial "file:$tmp/serial" -monitor stdio -nic none -m 256 \
        -vga none -no-reboot -kernel "$KERNEL" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" "$@" <"$tmp/fifo" >/dev/null 2>"$tmp/err" &
    pid=$!
    exec 3>"$tmp/fifo"
    end=$((SECONDS + 800))              # a busy host takes minutes to boot
    while [ $SECONDS -lt $end ]; do
        kill -0 $pid 2>/dev/null || break
        { [ $# -lt 4 ] && [ "$(lines)" -gt 3 ] 2>/dev/null; } || grep -aq '^END' "$tmp/serial" 2>/dev/null && break
        sleep 0.1
    done
    rm -f "$tmp/next"
    printf 'stop\nsavevm %s\nquit\n' "$tmp/next" >&3 2>/dev/null
    exec 3>&-
    wait $pid
    [ ! -f "$tmp/next" ] || mv "$tmp/next" "$tmp/state"
    cat "$tmp/serial" >> "$tmp/all"
}
walk() {        # CPUS ENGINE...
    cpus=$1 first=$2 way=$*; shift 2
    : > "$tmp/all"; rm -f "$tmp/state"
    leg "$first" "$cpus"
    while [ $# -gt 1 ]; do leg "$1" "$cpus" -loadvm "$tmp/state"; shift; done
    leg "$1" "$cpus" -loadvm "$tmp/state" -name last
    tr -d '\r' < "$tmp/all" | grep -a -e '^LIVE' -e '^END' > "$tmp/got"
    cmp -s "$tmp/got" "$tmp/expected"; rc=$?
    grep -aq "^LIVE" "$tmp/serial" || rc=1         # or it ended before the last engine had it
    check "CPUs, engines: $way" $rc
    [ $rc = 0 ] || { tail -3 "$tmp/got"; cat "$tmp/err"; } | sed 's/^/# /'
}

walk 1 jit interp jit
if [ -w /dev/kvm ]; then
    # What KVM offers, the others have; where it emulates kernels it is no place to boot.
    boot=kvm; "$QUERN" doctor --json 2>/dev/null | grep -q '"hardware-speed": *"no"' && boot=jit
    walk 1 $boot kvm jit kvm interp kvm kvm jit
    walk 2 $boot kvm jit interp kvm jit
    walk 4 $boot jit kvm interp kvm
fi
echo "1..$n"
exit $bad
