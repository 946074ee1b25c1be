# slow-virtio-blk-linux: virtio-blk as Linux sees it: queues, packed ring, discard, zeroes, serial, sizes, write cache; with and without an I/O thread.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
need_kernel
cat > "$tmp/script" <<'S'
q=/sys/block/vda/queue
echo "queues $(ls /sys/block/vda/mq | wc -l)"
echo "serial $(cat /sys/block/vda/serial)"
echo "sizes $(cat $q/logical_block_size) $(cat $q/physical_block_size) $(cat $q/minimum_io_size) $(cat $q/optimal_io_size)"
echo "discard $(cat $q/discard_granularity) zeroes $(cat $q/write_zeroes_max_bytes)"
echo "cache $(cat $q/write_cache)"
features=$(cat /sys/bus/virtio/devices/virtio0/features)
echo "indirect $(echo $features | cut -c29) event $(echo $features | cut -c30) packed $(echo $features | cut -c35)"
sha256sum /dev/vda
for i in 0 1 2 3; do (for k in $(seq 1 8); do dd if=/dev/vda of=/dev/null bs=4k skip=$((i * 200 + k * 20)) count=64 iflag=direct 2>/dev/null; done) & done; wait
dd if=/dev/urandom of=/dev/vda bs=1M seek=4 count=2 oflag=direct 2>/dev/null
echo "wrote $(dd if=/dev/vda bs=1M skip=4 count=2 iflag=direct 2>/dev/null | sha256sum | cut -c1-16)"
blkdiscard -o 8388608 -l 4194304 /dev/vda && echo "discarded"
echo "after $(dd if=/dev/vda bs=1M skip=8 count=4 iflag=direct 2>/dev/null | tr -d '\000' | wc -c)"
sync
poweroff -f
S
initramfs "$tmp/script" virtio_pci virtio_blk
for how in off: on: off:,iothread=io0 on:,iothread=io0; do
    ring=${how%%:*} thread=${how#*:}
    head -c 16M /dev/urandom > "$tmp/disk"
    want=$(sha256sum < "$tmp/disk" | cut -c1-64) before=$(stat -c %b "$tmp/disk")
    boot_linux 200 -accel jit -smp 2 -drive "if=none,id=d,file=$tmp/disk,format=raw,discard=unmap" -object iothread,id=io0 \
        -device "virtio-blk-pci,drive=d,num-queues=2,packed=$ring,serial=quern-4711,physical_block_size=4096,min_io_size=4096,opt_io_size=65536,write-cache=on$thread"
    [ $rc = 0 ] || fail "exit status $rc"
    has() { grep -aq "^$1" "$tmp/serial" || fail "packed=$how no '$1'"; }
    has "queues 2"; has "serial quern-4711"; has "sizes 512 4096 4096 65536"; has "discard 512"; has "cache write back"
    has "indirect 1 event 1 packed $([ $ring = on ] && echo 1 || echo 0)"
    has "$want"; has "discarded"; has "after 0"
    has "wrote $(dd if="$tmp/disk" bs=1M skip=4 count=2 2>/dev/null | sha256sum | cut -c1-16)"
    [ "$(stat -c %b "$tmp/disk")" -lt "$before" ] || fail "the discarded range still takes space"
done
