#!/bin/bash
# img-kill: SIGKILL at random moments of quern img operations (tests/block/kill-tool.py). KILLS: how many.
KILLS=${KILLS:-44} python3 "$QUERN_SRC/tests/block/kill-tool.py" && echo "ok 1 - nothing lost" || { echo "not ok 1 - nothing lost"; bad=1; }
echo "1..1"; exit "${bad:-0}"
