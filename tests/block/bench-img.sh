#!/bin/bash
# bench-img: quern img against qemu-img on the same files in one run; ratios of wall and CPU time (above 1: quern is faster).
set -eu
Q="${QUERN:?} img"; RUNS=${RUNS:-3}; MIB=${MIB:-512}; ONLY=${ONLY:-.}
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
TIMEFORMAT='%R %U %S'
once() { rm -f out.*; { time "$@" >/dev/null; } 2>&1 | awk 'NF == 3 { printf "%d %d\n", $1 * 1000, ($2 + $3) * 1000 }'; }
row() { # NAME then arguments of both tools, which take turns; the best wall and the best CPU time of RUNS runs count
    local n=$1 i aw=9999999 ac=9999999 bw=9999999 bc=9999999 w c; shift
    [[ $n =~ $ONLY ]] || return 0
    for ((i = 0; i < RUNS; i++)); do
        # shellcheck disable=SC2086
        read -r w c < <(once $Q "$@"); ((w < aw)) && aw=$w; ((c < ac)) && ac=$c
        read -r w c < <(once qemu-img "$@"); ((w < bw)) && bw=$w; ((c < bc)) && bc=$c
    done
    awk -v n="$n" -v aw="$aw" -v ac="$ac" -v bw="$bw" -v bc="$bc" 'BEGIN { if (!ac) ac = 1; if (!aw) aw = 1
        printf "%-34s wall %6d / %6d ms  ratio %5.2f   cpu %6d / %6d ms  ratio %5.2f\n", n, aw, bw, bw/aw, ac, bc, bc/ac }'
}
echo "quern / qemu-img, ratio above 1: quern is faster"
$Q convert -f raw -O qcow2 src.raw full.qcow2; $Q convert -f raw -O qcow2 -o cluster_size=4k src.raw small.qcow2
$Q convert -c -f raw -O qcow2 src.raw z.qcow2
row "start-up: --version" --version
row "start-up: info" info full.qcow2
row "convert raw -> qcow2" convert -f raw -O qcow2 src.raw out.q
row "convert qcow2 -> raw" convert -f qcow2 -O raw full.qcow2 out.r
row "convert raw -> raw" convert -f raw -O raw src.raw out.r
row "convert zlib qcow2 -> raw" convert -f qcow2 -O raw z.qcow2 out.r
row "convert qcow2 -> qcow2 zlib" convert -c -f qcow2 -O qcow2 full.qcow2 out.q
row "convert qcow2 -> qcow2 zstd" convert -c -o compression_type=zstd -f qcow2 -O qcow2 full.qcow2 out.q
row "convert sparse 10 GiB -> qcow2" convert -f raw -O qcow2 sparse.raw out.q
row "convert sparse 10 GiB -> raw" convert -f raw -O raw sparse.raw out.r
row "convert raw -> qcow2, O_DIRECT" convert -t none -T none -f raw -O qcow2 src.raw out.q
row "convert qcow2 -> raw, O_DIRECT" convert -t none -T none -f qcow2 -O raw full.qcow2 out.r
row "check 64k clusters" check full.qcow2
row "check 4k clusters" check small.qcow2
row "compare" compare full.qcow2 small.qcow2
row "create qcow2 1T" create -f qcow2 out.q 1T
row "create qcow2 10G metadata" create -f qcow2 -o preallocation=metadata out.q 10G
row "snapshot list" snapshot -l full.qcow2
