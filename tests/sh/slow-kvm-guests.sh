# slow-kvm-guests: bare-metal guests on /dev/kvm, whatever this host makes of it: interrupts through every place the
# controllers may be in, refused instructions, virtio kicks, and a state that goes from engine to engine.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
"$QUERN_SRC/tests/guests/build.sh" "$tmp/g" >/dev/null 2>&1 || skip "no compiler for 32-bit code"
n=0 bad=0
check() { n=$((n + 1)); if [ "$2" = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; bad=1; fi; }
guest() {       # guest ROM ENGINE [more]: what it says, in $tmp/out
    rom=$1 engine=$2; shift 2; : > "$tmp/out"
    timeout 20 "$QUERN" -accel "$engine" -m 64 -nodefaults -serial null -display none -net none -device isa-debug-exit,iobase=0xf4 \
        -bios "$tmp/g/$rom.rom" -debugcon "file:$tmp/out" -monitor none "$@" >/dev/null 2>&1 </dev/null
}
same() { cmp -s "$tmp/out" "$1"; check "$2" $?; }

expected=$QUERN_SRC/tests/guests
for e in interp jit; do
    guest irq32 $e; same "$expected/irq32.expected" "interrupts on $e"
done
# Without a usable /dev/kvm the rest is for the fake (tests/kvm).
[ -w /dev/kvm ] || { echo "1..$n"; exit $bad; }
for g in excp32 tasks32 v86; do
    guest $g kvm; same "$expected/$g.expected" "$g on kvm"
done
guest long64 kvm; same "$expected/long64.expected" "long64 on kvm"
guest irq32 kvm; same "$expected/irq32.expected" "interrupts on kvm, its own choice of controllers"
guest irq32 kvm,kernel-irqchip=off; same "$expected/irq32.expected" "interrupts on kvm with the models"
# Where the host emulates kernels, quern's models serve every mode; elsewhere the kernel's own controllers do.
for m in split on; do
    guest irq32 kvm,kernel-irqchip=$m; same "$expected/irq32.expected" "interrupts on kvm, kernel-irqchip=$m"
done
for m in off split on; do
    guest exits32 kvm,kernel-irqchip=$m -device virtio-rng-pci
    grep -q "message interrupt: 00000001" "$tmp/out"; check "virtio kick and message interrupt, kernel-irqchip=$m" $?
done

guest resume32 interp; cp "$tmp/out" "$tmp/full"
for a in jit kvm kvm,kernel-irqchip=on; do
    for b in interp kvm kvm,kernel-irqchip=on; do
        rm -f "$tmp/state"
        (sleep 0.5; printf 'stop\nsavevm %s\nquit\n' "$tmp/state") | timeout 20 "$QUERN" -accel $a -m 64 -nodefaults -serial null -display none \
            -net none -device isa-debug-exit,iobase=0xf4 -bios "$tmp/g/resume32.rom" -debugcon "file:$tmp/first" \
            -monitor stdio >/dev/null 2>&1
        guest resume32 $b -loadvm "$tmp/state"
        cat "$tmp/first" "$tmp/out" | cmp -s - "$tmp/full"; check "saved under $a, resumed under $b" $?
    done
done
echo "1..$n"
exit $bad
