#!/bin/bash
# img-matrix: the first random walks of tests/block/matrix.py, always the same ones; `make matrix` walks on.
SEED=50000 WALKS=12 LIMIT=45 exec bash "$QUERN_SRC/tests/block/img-matrix.sh"
