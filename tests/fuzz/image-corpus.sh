#!/bin/bash
# image-corpus: small valid images as seeds of fuzz-image, in its sparse encoding. Usage: image-corpus.sh QUERN FOLDER
set -e
q=$1 out=$2 tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
seed() { python3 - "$1" "$tmp/i" "$out/$2" <<'PY'
import sys, struct
fmt, src, dst = int(sys.argv[1]), open(sys.argv[2], 'rb').read(), sys.argv[3]
out, zero = bytes([fmt | 0x10]), b'\0' * 512
at = 0
while at < len(src):                    # runs of sectors that are not all zero
    if src[at:at + 512] in (zero, zero[:len(src) - at]):
        at += 512; continue
    end = at
    while end < len(src) and end - at < 0xfe00 and src[end:end + 512] != zero:
        end += 512
    data = src[at:end].rstrip(b'\0'); out += struct.pack('<HH', at // 512, len(data)) + data
    at = end
open(dst, 'wb').write(out + struct.pack('<HH', (len(src) + 511) // 512, 0))
PY
rm -f "$tmp/i"; }
head -c 3000 /dev/urandom >"$tmp/raw"; printf 'text%.0s' {1..2000} >>"$tmp/raw"; truncate -s 256k "$tmp/raw"
for o in cluster_size=512 cluster_size=4k,refcount_bits=1 cluster_size=16k,extended_l2=on compat=0.10,cluster_size=4k lazy_refcounts=on \
         cluster_size=512,refcount_bits=64 cluster_size=2M; do
    "$q" img convert -f raw -O qcow2 -o $o "$tmp/raw" "$tmp/i"; seed 0 "qcow2-$o"
done
for c in zlib zstd; do
    "$q" img convert -c -f raw -O qcow2 -o cluster_size=4k,compression_type=$c "$tmp/raw" "$tmp/i"; "$q" img snapshot -c a "$tmp/i"; seed 0 qcow2-$c
done
"$q" img convert -f raw -O qcow2 -o cluster_size=4k "$tmp/raw" "$tmp/i"; for s in a b c; do "$q" img snapshot -c $s "$tmp/i"; done; seed 0 qcow2-snapshots
"$q" img create -q -f qcow2 -u -b base -F raw "$tmp/i" 1M; seed 0 qcow2-backing
"$q" img create -q -f qcow2 -o data_file="$tmp/d" "$tmp/i" 1M; seed 0 qcow2-data
"$q" img create -q -f qcow2 -o preallocation=metadata "$tmp/i" 1M; seed 0 qcow2-metadata
"$q" img convert -f raw -O vmdk "$tmp/raw" "$tmp/i"; seed 1 vmdk
"$q" img convert -f raw -O vmdk -o subformat=streamOptimized "$tmp/raw" "$tmp/i"; seed 1 vmdk-stream
for s in monolithicFlat twoGbMaxExtentSparse; do "$q" img create -q -f vmdk -o subformat=$s "$tmp/i" 4M; seed 1 "vmdk-$s"; done
"$q" img create -q -f vdi "$tmp/i" 4M; seed 2 vdi
"$q" img convert -f raw -O vdi "$tmp/raw" "$tmp/i"; seed 2 vdi-data
"$q" img create -q -f vpc "$tmp/i" 4M; seed 3 vpc
"$q" img convert -f raw -O vpc "$tmp/raw" "$tmp/i"; seed 3 vpc-data
"$q" img create -q -f vpc -o subformat=fixed "$tmp/i" 256k; seed 3 vpc-fixed
"$q" img create -q -f vhdx -o block_size=1M "$tmp/i" 4M; seed 4 vhdx
"$q" img convert -f raw -O vhdx -o block_size=1M "$tmp/raw" "$tmp/i"; seed 4 vhdx-data
# and what long runs found worth keeping
python3 - "$(dirname "$0")/image.corpus" "$out" <<'PY'
import sys, struct
d, at, i = open(sys.argv[1], 'rb').read(), 0, 0
while at + 2 < len(d):
    n = struct.unpack_from('<H', d, at)[0]
    open(f'{sys.argv[2]}/kept-{i}', 'wb').write(d[at + 2:at + 2 + n]); at += 2 + n; i += 1
PY
