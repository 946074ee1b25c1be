# img-lib: helpers of the img-*.sh tests: quern img beside Debian's qemu-img. Source it.
set -u
command -v qemu-img >/dev/null || { echo "1..0 # SKIP no qemu-img"; exit 77; }
Q="${QUERN:?} img"
DIR=$(mktemp -d "${TMPDIR:-/tmp}/quern-img-XXXXXX")
trap 'rm -rf "$DIR"' EXIT
cd "$DIR" || exit 1
N=0 BAD=0
ok() { N=$((N + 1)); echo "ok $N - $1"; }
nok() { N=$((N + 1)); BAD=1; echo "not ok $N - $1"; }
# check NAME COMMAND...: passes when the command succeeds
check() { local n=$1; shift; if "$@" >out.txt 2>&1; then ok "$n"; else nok "$n"; sed 's/^/# /' out.txt | head -20; fi; }
# same NAME FILE FILE
same() { if cmp -s "$2" "$3"; then ok "$1"; else nok "$1"; diff "$2" "$3" | head -10 | sed 's/^/# /'; fi; }
# json FILE [KEY...]: sorted JSON without the named keys, for comparing
json() { python3 - "$@" <<'PY'
import json, sys
def strip(x):
    if isinstance(x, dict):
        return {k: strip(v) for k, v in x.items() if k not in sys.argv[2:]}
    return [strip(v) for v in x] if isinstance(x, list) else x
print(json.dumps(strip(json.load(open(sys.argv[1]))), sort_keys=True, indent=1))
PY
}
# source_image FILE MIB SEED: data, text and holes
source_image() { python3 - "$@" <<'PY'
import random, sys
name, mib, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r = random.Random(seed)
with open(name, 'wb') as f:
    f.truncate(mib << 20)
    for i in range(mib * 2):
        f.seek(r.randrange(0, (mib << 20) - 200000) & ~511)
        f.write(r.choice([r.randbytes(r.randrange(1, 100000)), b'line of text %d\n' % i * r.randrange(1, 6000)])[:200000])
    f.truncate(mib << 20)
PY
}
finish() { echo "1..$N"; exit $BAD; }
