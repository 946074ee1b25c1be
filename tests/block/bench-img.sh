#!/bin/bash
# bench-img: quern img against qemu-img on the same files in one run; prints ratios (above 1: quern is faster).
set -eu
Q="${QUERN:?} img"; RUNS=${RUNS:-3}; MIB=${MIB:-512}
DIR=$(mktemp -d "${TMPDIR:-/tmp}/quern-bench-XXXXXX"); trap 'rm -rf "$DIR"' EXIT; cd "$DIR"
python3 - "$MIB" <<'PY'
import random, sys
r = random.Random(1); mib = int(sys.argv[1]); words = [r.randbytes(r.randrange(3, 12)).hex() for _ in range(4000)]
with open('src.raw', 'wb') as f:
    for i in range(mib):
        k = i % 4
        f.write(r.randbytes(1 << 20) if k == 0 else b'\0' * (1 << 20) if k == 1 else (' '.join(r.choices(words, k=90000)).encode())[:1 << 20].ljust(1 << 20, b'x'))
PY
truncate -s 10G sparse.raw; dd if=src.raw of=sparse.raw bs=1M count=64 seek=5000 conv=notrunc status=none
best() { # best wall time in ms of RUNS runs of a command
    local b=999999999999 s e i
    for ((i = 0; i < RUNS; i++)); do rm -f out.*; s=$(date +%s%N); "$@" >/dev/null; e=$(date +%s%N); ((e - s < b)) && b=$((e - s)); done
    echo $((b / 1000))
}
row() { # NAME then arguments of both tools
    local n=$1 a b; shift
    # shellcheck disable=SC2086
    a=$(best $Q "$@"); b=$(best qemu-img "$@")
    awk -v n="$n" -v a="$a" -v b="$b" 'BEGIN { printf "%-34s quern %9.1f ms  qemu-img %9.1f ms  ratio %5.2f\n", n, a/1000, b/1000, b/a }'
}
$Q convert -f raw -O qcow2 src.raw full.qcow2; $Q convert -f raw -O qcow2 -o cluster_size=4k src.raw small.qcow2
row "convert raw -> qcow2" convert -f raw -O qcow2 src.raw out.q
row "convert qcow2 -> raw" convert -f qcow2 -O raw full.qcow2 out.r
row "convert qcow2 -> qcow2 zlib" convert -c -f qcow2 -O qcow2 full.qcow2 out.q
row "convert qcow2 -> qcow2 zstd" convert -c -o compression_type=zstd -f qcow2 -O qcow2 full.qcow2 out.q
row "convert sparse 10 GiB -> qcow2" convert -f raw -O qcow2 sparse.raw out.q
row "convert sparse 10 GiB -> raw" convert -f raw -O raw sparse.raw out.r
row "convert raw -> qcow2, O_DIRECT" convert -t none -T none -f raw -O qcow2 src.raw out.q
row "check 64k clusters" check full.qcow2
row "check 4k clusters" check small.qcow2
row "create qcow2 1T" create -f qcow2 out.q 1T
