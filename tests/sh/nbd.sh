#!/bin/bash
# nbd: quern as NBD server and client beside qemu-nbd, qemu-img, nbdcopy and nbdinfo; requests in flight; broken peers.
. "$QUERN_SRC/tests/block/img-lib.sh"
command -v qemu-nbd >/dev/null || { echo "1..0 # SKIP no qemu-nbd"; exit 77; }
source_image src.raw 24 5
S="$DIR/s.sock" U="nbd+unix:///?socket=$DIR/s.sock" PID=
serve() { rm -f "$S"; "$@" & PID=$!; for _ in $(seq 200); do [ -S "$S" ] && { sleep 0.1; return; }; sleep 0.02; done; }
stop() { kill "$PID" 2>/dev/null; wait "$PID" 2>/dev/null; }
$Q convert -f raw -O qcow2 src.raw disk.qcow2
$Q convert -c -f raw -O qcow2 src.raw z.qcow2

serve "$QUERN" nbd -t -e 8 -k "$S" -f qcow2 -x "" disk.qcow2
check "qemu-img reads from quern" qemu-img compare -q -f raw src.raw "$U"
check "quern reads from quern" $Q compare -q -f raw src.raw "$U"
qemu-img map --output=json "$U" >a.json; $Q map --output=json "$U" >b.json
json a.json >a.txt; json b.json >b.txt; same "same map through NBD" a.txt b.txt
qemu-img info --output=json "$U" >a.json; $Q info --output=json "$U" >b.json
json a.json filename >a.txt; json b.json filename dirty-flag >b.txt; same "same info through NBD" a.txt b.txt
if command -v nbdcopy >/dev/null; then
    check "nbdcopy, 64 requests in flight, 4 connections" nbdcopy --requests=64 --connections=4 "$U" out.raw
    same "nbdcopy got the content" out.raw src.raw
    nbdinfo --json "$U" >info.json; grep -q '"can_multi_conn": true' info.json && grep -q 'base:allocation' info.json &&
        ok "nbdinfo: multi-conn, base:allocation" || nok "nbdinfo: multi-conn, base:allocation"
    check "nbdcopy writes" nbdcopy --requests=32 --connections=4 --flush src.raw "$U"
fi
check "qemu-img writes to quern" qemu-img convert -n -f raw -O raw -W -m 16 src.raw "$U"
check "qemu-io: deep queue, zeroes, trim" qemu-io -f raw -c "aio_write -P 1 0 1M" -c "aio_write -P 2 1M 1M" -c "aio_write -z 2M 1M" \
    -c "aio_flush" -c "discard 4M 1M" -c "read -P 1 0 1M" -c "read -P 2 1M 1M" -c "read -P 0 2M 1M" "$U"
stop; check "image is clean" qemu-img check -q disk.qcow2

# by the name qemu-nbd: listing, windows, one client at a time, going to the background
ln -sf "$QUERN" qemu-nbd
serve ./qemu-nbd -k "$S" -f qcow2 -x disk -D "my disk" disk.qcow2
qemu-nbd --list -k "$S" >a.txt 2>&1; ./qemu-nbd --list -k "$S" >b.txt 2>&1; same "--list, and a client that only looks does not end it" a.txt b.txt
if command -v nbdcopy >/dev/null; then
    check "nbdcopy keeps to one connection" timeout 60 nbdcopy "nbd+unix:///disk?socket=$S" out.raw
    for _ in $(seq 50); do kill -0 "$PID" 2>/dev/null || break; sleep 0.1; done
    kill -0 "$PID" 2>/dev/null && nok "ends with its last client" || ok "ends with its last client"
    check "--fork returns when clients may come" timeout 20 ./qemu-nbd --fork -t -r -o 1M -k "$S" --pid-file="$DIR/pid" -f qcow2 disk.qcow2
    check "a window of an image" timeout 60 nbdcopy "$U" part.raw
    tail -c +1048577 out.raw >want.raw; same "the window's content" part.raw want.raw
    PID=$(cat pid); stop
fi
timeout 20 ./qemu-nbd --fork -k "$S" -f qcow2 missing.qcow2 2>/dev/null; [ $? = 1 ] && ok "--fork tells a failure" || nok "--fork tells a failure"
./qemu-nbd -c /dev/nbd0 disk.qcow2 2>out.txt; [ $? = 1 ] && grep -q "/dev/nbd devices are not served" out.txt && ok "-c is refused with words" || nok "-c is refused with words"

serve "$QUERN" nbd -t -r -k "$S" -f qcow2 z.qcow2
qemu-io -f raw -c "write 0 4k" "$U" >out.txt 2>&1; grep -qi "read-only\|denied\|permitted" out.txt && ok "read-only export" || nok "read-only export"
check "compressed image over NBD" qemu-img compare -q -f raw src.raw "$U"
stop

# a raw disk: qemu-nbd 7.2 damages a qcow2 image when zeroes and data arrive together, whoever the client is
truncate -s 24M disk.raw; serve qemu-nbd -t -e 8 -k "$S" -f raw disk.raw
check "quern writes to qemu-nbd" $Q convert -n -f raw -O raw src.raw "$U"
check "quern reads from qemu-nbd" $Q compare -q -f raw src.raw "$U"
check "quern converts from qemu-nbd" $Q convert -O qcow2 "$U" got.qcow2
check "converted content" qemu-img compare -q -f raw src.raw got.qcow2
check "16 writes in flight to qemu-nbd" $Q bench -q -w -c 400 -d 16 -s 65536 "$U"
stop

# a server that dies in the middle: the client fails in time, nothing hangs
cp src.raw disk.raw
serve "$QUERN" nbd -t -k "$S" -f raw disk.raw
timeout 60 $Q bench -q -w -c 100000 -d 16 "$U" >out.txt 2>&1 & B=$!; sleep 0.4; kill -9 "$PID"; wait "$B"; r=$?
[ $r != 0 ] && [ $r != 124 ] && ok "killed server: the client ends with an error" || nok "killed server: exit $r"
python3 "$QUERN_SRC/tests/block/nbd-hostile.py" "$QUERN" "$S" >out.txt 2>&1; r=$?
[ $r = 0 ] && ok "hostile peers" || { nok "hostile peers"; sed 's/^/# /' out.txt | tail -20; }
finish
