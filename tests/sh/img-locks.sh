#!/bin/bash
# img-locks: quern and QEMU keep each other from images in use, and let readers share.
. "$QUERN_SRC/tests/block/img-lib.sh"
qemu-img create -q -f qcow2 a.qcow2 4M
# Until somebody has the image; however slow the host is.
locked() { for i in $(seq 200); do grep -q ":$(stat -c %i a.qcow2) " /proc/locks && break; sleep 0.1; done; }
hold() { mkfifo hold.fifo 2>/dev/null; "$@" <hold.fifo >/dev/null 2>&1 & HP=$!; exec 9>hold.fifo; locked; }
drop() { exec 9>&-; kill $HP 2>/dev/null; wait $HP 2>/dev/null; }
hold qemu-io -f qcow2 a.qcow2
$Q snapshot -c x a.qcow2 2>out.txt; [ $? = 1 ] && grep -q 'Failed to get "write" lock' out.txt && ok "writer held by QEMU keeps us out" || nok "writer lock"
$Q info a.qcow2 2>out.txt >/dev/null; [ $? = 1 ] && grep -q 'shared "write" lock' out.txt && ok "info needs -U" || nok "info needs -U"
check "info -U works" $Q info -U a.qcow2
drop
hold qemu-io -r -f qcow2 a.qcow2
check "readers share" $Q check a.qcow2
$Q snapshot -c x a.qcow2 2>/dev/null; [ $? = 1 ] && ok "a reader keeps writers out" || nok "reader keeps writers out"
drop
$QUERN nbd -t -k s.sock -f qcow2 a.qcow2 & HP=$!; locked
qemu-io -f qcow2 -c 'read 0 512' a.qcow2 >out.txt 2>&1; grep -q 'Failed to get "write" lock' out.txt && ok "our writer keeps QEMU out" || nok "our writer keeps QEMU out"
kill $HP; wait $HP 2>/dev/null
check "free again" qemu-io -f qcow2 -c 'read 0 512' a.qcow2
finish
