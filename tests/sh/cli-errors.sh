# cli-errors: wrong command lines end with status 1 and one line that names what was probably meant.
bad=0 n=0
check() { # expected text, then options
    want=$1; shift; n=$((n + 1)); rc=0
    out=$(timeout 20 "$QUERN" -display none -nodefaults "$@" 2>&1 </dev/null) || rc=$?
    if [ $rc = 1 ] && printf '%s' "$out" | grep -qF -- "$want"; then echo "ok $n - $*"
    else echo "not ok $n - $*: status $rc, want '$want', got: $out"; bad=1; fi
}
check "did you mean -cdrom?" -cdorm x
check "did you mean 'virtio-blk-pci'?" -device virtio-blk-pic
check "did you mean 'Haswell'?" -cpu haswell
check "did you mean 'pc" -machine pcc
check "did you mean 'qxl'" -vga qxll
check "did you mean 'usb'?" -machine pc,usv=on
check "did you mean 'interp'?" -accel interpp
check "No such file" -hda /nonexistent/disk
check "did you mean 'iobase'?" -device isa-debugcon,iobas=1
check "did you mean 'threshold'?" -accel jit,thresold=3
check "takes a number" -accel jit,threshold=x
check "check: expected on or off" -accel jit,check=maybe
check "did you mean 'kernel-code'?" -accel kvm,kernel-cod=soft
check "unknown option 'tb-sise'" -accel tcg,tb-sise=4
check "no trace point matches 'no_such_*'" -trace 'no_such_*'
check "expected on or off" -overcommit cpu-pm=maybe
check "did you mean 'cpu-pm'?" -overcommit cpu-pn=on
check "hv-* need KVM" -accel jit -cpu max,hv-time,enforce
check "needs -machine pc" -machine none -kernel x
check "reset or shutdown" -action reboot=never
check "one of" -device pvpanic,action=sleep
check "cannot have a multicast address" -device e1000,mac=01:00:00:00:00:01
check "hubid= is missing" -netdev hubport,id=h
check "netdev=u: there is no such network back-end" -netdev hubport,id=h,hubid=1,netdev=u
check "did you mean 'rate'?" -netdev user,id=u -object filter-throttle,id=t,netdev=u,rat=1M
check "no longer an option" -soundhw hda
check "needs an argument" -kernel
check "not a UUID" -uuid 1234
check "more than the" -m 900T
check "there is no bus 'pci.1'" -device VGA,bus=pci.1
check "are not 3 CPUs" -smp 3,cores=2,sockets=2
check "there is no chardev" -mon nosuch
# A wrong file is one line, not preceded by news about the engine.
for o in "-kernel /nonexistent/k" "-bios nonexistent.bin" "-initrd x" "-fw_cfg name=opt/x,file=/nonexistent/x"; do
    n=$((n + 1))
    lines=$(timeout 20 "$QUERN" -display none -nodefaults $o 2>&1 </dev/null | wc -l)
    if [ "$lines" = 1 ]; then echo "ok $n - $o: one line"; else echo "not ok $n - $o: $lines lines"; bad=1; fi
done
echo "1..$n"
exit $bad
