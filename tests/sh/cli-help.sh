# cli-help: the lists that tools parse are printed to stdout with status 0.
bad=0 n=0
check() {
    want=$1; shift; n=$((n + 1)); rc=0
    out=$("$QUERN" "$@" 2>/dev/null </dev/null) || rc=$?
    if [ $rc = 0 ] && printf '%s' "$out" | grep -qE -- "$want"; then echo "ok $n - $*"
    else echo "not ok $n - $*: status $rc"; bad=1; fi
}
check 'QEMU emulator version' --version
check '^pc +' -machine help
check '^interp' -accel help
check '^x86 max' -cpu help
check '^name "isa-serial", bus ISA' -device help
check '^  iobase=<' -device isa-serial,help
check '^guest_errors' -d help
check 'user' -netdev help
check 'iothread' -object help
check '^-smp ' -h
check 'QEMU emulator version 7\.' -help
check '^quern img' help verbs
echo "1..$n"
exit $bad
