#!/bin/bash
# image-corpus: small valid images as seeds of fuzz-image. Usage: image-corpus.sh QUERN FOLDER
set -e
q=$1 out=$2 tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
seed() { # byte, name
    { printf "\\x$1"; head -c 1000000 "$tmp/i"; } >"$out/$2"
}
head -c 100000 /dev/urandom >"$tmp/raw"; truncate -s 1M "$tmp/raw"
for o in cluster_size=512 cluster_size=4k,refcount_bits=1 cluster_size=16k,extended_l2=on compat=0.10,cluster_size=4k lazy_refcounts=on; do
    "$q" img convert -f raw -O qcow2 -o $o "$tmp/raw" "$tmp/i"; seed 00 "qcow2-$o"
done
"$q" img convert -c -f raw -O qcow2 -o cluster_size=4k "$tmp/raw" "$tmp/i"; "$q" img snapshot -c a "$tmp/i"; seed 00 qcow2-c
rm -f "$tmp/i"; "$q" img convert -f raw -O vmdk "$tmp/raw" "$tmp/i"; seed 01 vmdk
rm -f "$tmp/i"; "$q" img convert -f raw -O vmdk -o subformat=streamOptimized "$tmp/raw" "$tmp/i"; seed 01 vmdk-s
rm -f "$tmp/i"; "$q" img create -q -f vdi "$tmp/i" 4M; seed 02 vdi
"$q" img create -q -f vpc "$tmp/i" 4M; seed 03 vpc
