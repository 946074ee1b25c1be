# sandbox: the system call filter holds, the guest runs under it; -add-fd names a descriptor of the caller.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
"$QUERN" -sandbox spawn=perhaps </dev/null 2>"$tmp/err" && fail "-sandbox spawn=perhaps was taken"
grep -q "allow or deny" "$tmp/err" || fail "no reason: $(cat "$tmp/err")"
truncate -s 1M "$tmp/disk"
"$QUERN" -add-fd fd=9,set=1 -machine none </dev/null 2>"$tmp/err" && fail "-add-fd took a closed descriptor"
grep -q "not open" "$tmp/err" || fail "no reason: $(cat "$tmp/err")"
rc=0
(echo 'info block'; sleep 1; echo quit) | timeout 60 "$QUERN" -accel tcg -m 32 -display none -nic none -vga none -serial null -monitor stdio \
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
    -add-fd fd=9,set=7,opaque=disk -drive file=/dev/fdset/7,format=raw,if=ide 9<>"$tmp/disk" >"$tmp/out" 2>&1 || rc=$?
[ $rc = 0 ] || { cat "$tmp/out"; fail "status $rc"; }
grep -q "/dev/fdset/7" "$tmp/out" || { cat "$tmp/out"; fail "the drive is not there"; }
