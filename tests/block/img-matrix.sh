#!/bin/bash
# img-matrix: random walks over formats, options and operations beside qemu-img (tests/block/matrix.py). LIMIT seconds.
command -v qemu-img >/dev/null && command -v qemu-io >/dev/null || { echo "1..0 # SKIP no qemu-img"; exit 77; }
SEED=${SEED:-$((RANDOM * 64))} LIMIT=${LIMIT:-90} exec python3 "$QUERN_SRC/tests/block/matrix.py"
