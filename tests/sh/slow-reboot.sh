# slow-reboot: a guest that reboots comes up again; with -no-reboot that is the end, status 0. One and four CPUs, both software engines.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
echo 'reboot -f' > "$tmp/script"
initramfs "$tmp/script"
for engine in ${ENGINES:-jit interp}; do
    for cpus in 1 4; do
        if [ $engine = jit ]; then      # what ends the machine is the same for every engine
            boot_linux 400 -accel $engine -smp $cpus -no-reboot
            [ $rc = 0 ] || fail "$engine, $cpus CPUs, -no-reboot: exit status $rc"
            [ "$(grep -c "on $cpus CPU" "$tmp/serial")" = 1 ] || fail "$engine, $cpus CPUs, -no-reboot: not exactly one boot"
        fi
        : > "$tmp/serial"
        boot_linux 600 -accel $engine -smp $cpus > "$tmp/out" 2>&1 &
        for i in $(seq 600); do
            [ "$(grep -c "on $cpus CPU" "$tmp/serial")" -lt 2 ] || break
            kill -0 $! || fail "$engine, $cpus CPUs: quern ended: $(cat "$tmp/out")"
            sleep 1
        done
        pkill -TERM -P $! timeout
        wait $!
        [ "$(grep -c "on $cpus CPU" "$tmp/serial")" -ge 2 ] || fail "$engine, $cpus CPUs: did not come up again"
        echo "$engine, $cpus CPUs: came up again"
    done
done
