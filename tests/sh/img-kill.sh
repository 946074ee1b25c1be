#!/bin/bash
# img-kill: SIGKILL at random moments of writing; every image then checks without corruption. KILLS: how many.
. "$QUERN_SRC/tests/block/img-lib.sh"
source_image src.raw 24 3
KILLS=${KILLS:-24} corrupt=0 half=0
for i in $(seq "$KILLS"); do
    case $((i % 3)) in
    0) rm -f k.qcow2; $Q convert -f raw -O qcow2 src.raw k.qcow2 & ;;
    1) $Q create -q -f qcow2 -o cluster_size=4k k.qcow2 24M; $Q bench -q -w -c 100000 -d 8 -S 69632 --flush-interval=50 k.qcow2 >/dev/null 2>&1 & ;;
    2) $Q convert -f raw -O qcow2 -o cluster_size=4k src.raw k.qcow2; (for n in a b c d e f; do $Q snapshot -c $n k.qcow2; done) & ;;
    esac
    P=$!; sleep "0.0$((RANDOM % 90 + 10))"; kill -9 $P 2>/dev/null; wait $P 2>/dev/null
    pkill -9 -P $P 2>/dev/null
    if [ $((i % 3)) = 0 ]; then
        [ ! -e k.qcow2 ] || qemu-img compare -q -f raw src.raw k.qcow2 || half=$((half + 1))
    else
        for t in 1 2 3 4 5 6 7 8 9 10; do $Q info k.qcow2 >/dev/null 2>&1 && break; sleep 0.1; done
        $Q check -q k.qcow2 >/dev/null 2>&1
        if [ $? = 2 ]; then     # marks may be at odds; the next writer must settle that
            $Q snapshot -c heal k.qcow2 >/dev/null 2>&1; $Q check -q k.qcow2 2>/dev/null; [ $? = 2 ] && corrupt=$((corrupt + 1))
        fi
    fi
    rm -f k.qcow2.quern-part
done
[ $corrupt = 0 ] && ok "$KILLS kills: no corrupt image" || nok "$KILLS kills: $corrupt corrupt images"
[ $half = 0 ] && ok "no half file that looks whole" || nok "$half half files that look whole"
finish
