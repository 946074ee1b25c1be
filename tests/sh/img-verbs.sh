#!/bin/bash
# img-verbs: create, snapshot, rebase, commit, resize, measure, map, dd, amend beside qemu-img; exit codes; texts.
. "$QUERN_SRC/tests/block/img-lib.sh"
source_image src.raw 8 2

# create prints what qemu-img prints
for o in "-f qcow2 x.img 10M" "-f qcow2 -o cluster_size=4k,lazy_refcounts=on x.img 1G" "-f raw x.img 5M" \
         "-f qcow2 -o preallocation=metadata x.img 64M" "-f vdi x.img 10M" "-f vhdx x.img 10M" "-f vpc x.img 10M"; do
    # shellcheck disable=SC2086
    rm -f x.img; qemu-img create $o >a.txt 2>&1
    # shellcheck disable=SC2086
    rm -f x.img; $Q create $o >b.txt 2>&1
    same "create $o: same line" a.txt b.txt
done

# backing format must be given
$Q create -f qcow2 -b src.raw top.qcow2 >/dev/null 2>b.txt; [ $? = 1 ] && grep -q "Detected format of raw" b.txt &&
    ok "create without backing format is refused" || nok "create without backing format"

# overlay, write, commit, rebase
for tool in $Q; do :; done
$Q convert -f raw -O qcow2 src.raw base.qcow2
$Q create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
qemu-io -f qcow2 -c 'write -P 1 64k 100k' -c 'write -z 1M 300k' -c 'write -P 3 5M 1M' top.qcow2 >/dev/null
qemu-img convert -O raw top.qcow2 want.raw
check "overlay reads the same" $Q compare -F raw top.qcow2 want.raw
cp base.qcow2 b2.qcow2; cp top.qcow2 t2.qcow2
check "rebase to nothing flattens" $Q rebase -b "" t2.qcow2
check "flattened image is the same" qemu-img compare -q -F raw t2.qcow2 want.raw
check "flattened image is clean" qemu-img check -q t2.qcow2
$Q convert -f raw -O qcow2 -o cluster_size=4k want.raw other.qcow2
cp top.qcow2 t3.qcow2
check "rebase to another base" $Q rebase -b other.qcow2 -F qcow2 t3.qcow2
check "rebased image is the same" qemu-img compare -q -F raw t3.qcow2 want.raw
cp top.qcow2 t4.qcow2
check "unsafe rebase changes the name" $Q rebase -u -b b2.qcow2 -F qcow2 t4.qcow2
qemu-img info t4.qcow2 | grep -q "backing file: b2.qcow2" && ok "new name is there" || nok "new name"
$Q commit t4.qcow2 >out.txt; grep -qx "Image committed." out.txt && ok "commit says so" || nok "commit says so"
check "commit wrote the base" qemu-img compare -q -F raw b2.qcow2 want.raw
check "committed base is clean" qemu-img check -q b2.qcow2
check "emptied top is clean" qemu-img check -q t4.qcow2
qemu-img info --backing-chain --output=json top.qcow2 >a.json; $Q info --backing-chain --output=json top.qcow2 >b.json
json a.json >a.txt; json b.json >b.txt; same "same backing chain" a.txt b.txt
qemu-img map --output=json top.qcow2 >a.json; $Q map --output=json top.qcow2 >b.json
json a.json >a.txt; json b.json >b.txt; same "same map through the chain" a.txt b.txt
qemu-img map base.qcow2 >a.txt; $Q map base.qcow2 >b.txt; same "same map as text" a.txt b.txt
truncate -s 0 empty.raw; qemu-img map -f raw --output=json empty.raw >a.txt; $Q map -f raw --output=json empty.raw >b.txt; same "same map of nothing" a.txt b.txt

# snapshots made by one, used by the other
cp base.qcow2 s.qcow2
check "snapshot -c" $Q snapshot -c one s.qcow2
qemu-io -f qcow2 -c 'write -P 9 0 2M' s.qcow2 >/dev/null
check "qemu-img snapshot -c" qemu-img snapshot -c two s.qcow2
check "image with snapshots is clean" $Q check -q s.qcow2
check "convert -l" $Q convert -l one -O raw s.qcow2 one.raw
check "snapshot holds the old content" qemu-img compare -q -f raw -F raw one.raw src.raw
qemu-img snapshot -l s.qcow2 >a.txt; $Q snapshot -l s.qcow2 >b.txt; same "same snapshot list" a.txt b.txt
check "snapshot -a" $Q snapshot -a one s.qcow2
check "applied content" qemu-img compare -q -F raw s.qcow2 src.raw
check "snapshot -d" $Q snapshot -d two s.qcow2
check "clean after all" qemu-img check -q s.qcow2

# resize
cp base.qcow2 r.qcow2; cp src.raw r.raw; truncate -s 20M r.raw
$Q resize r.qcow2 +12M >out.txt; grep -qx "Image resized." out.txt && ok "resize grows" || nok "resize grows"
check "grown content" qemu-img compare -q -F raw r.qcow2 r.raw
$Q resize r.qcow2 4M >/dev/null 2>out.txt; [ $? = 1 ] && grep -q -- "--shrink" out.txt && ok "shrinking needs --shrink" || nok "shrinking needs --shrink"
$Q resize --shrink --preallocation=falloc r.qcow2 1M >/dev/null 2>out.txt; [ $? = 1 ] && grep -q growing out.txt && ok "preallocation only grows" || nok "preallocation only grows"
check "resize by nothing" $Q resize r.qcow2 +0
check "resize --shrink" $Q resize --shrink r.qcow2 4M
truncate -s 4M r.raw; check "shrunk content" qemu-img compare -q -F raw r.qcow2 r.raw
check "clean after resize" qemu-img check -q r.qcow2

# measure
for a in "-O qcow2 --size 10G" "-O qcow2 -o cluster_size=512 --size 1G" "-O raw --size 5M" "-O qcow2 src.raw" "-O qcow2 top.qcow2" \
         "-O qcow2 -o extended_l2=on --size 3T"; do
    # shellcheck disable=SC2086
    qemu-img measure $a >a.txt 2>&1
    # shellcheck disable=SC2086
    $Q measure $a >b.txt 2>&1
    same "measure $a" a.txt b.txt
done

# what the tools refuse: the same exit code, the same first line, no file left behind
ln -sf "$QUERN" qemu-img
while read -r args; do
    # shellcheck disable=SC2086
    rm -f out.x; qemu-img $args >/dev/null 2>a.txt; echo "exit $?" >>a.txt
    # shellcheck disable=SC2086
    rm -f out.x; ./qemu-img $args >/dev/null 2>b.txt; echo "exit $?" >>b.txt
    [ -e out.x ] && echo "out.x was left" >>b.txt
    same "refused: $args" a.txt b.txt
done <<'REFUSED'
compare
compare src.raw
compare -Z src.raw src.raw
compare --output=json src.raw src.raw
compare src.raw src.raw src.raw
info -Z src.raw
info -f foo src.raw
info -f
check -r some base.qcow2
measure base.qcow2 src.raw
convert -Z src.raw out.x
convert -c -O vdi src.raw out.x
convert -C -S 4k src.raw out.x
convert -C -c -O qcow2 src.raw out.x
convert -C --salvage src.raw out.x
convert -n -o size=1M src.raw src.raw
convert --target-is-zero src.raw out.x
convert --target-image-opts src.raw driver=raw,file.filename=out.x
convert -B base.qcow2 -O qcow2 src.raw out.x
convert -n src.raw src.raw
convert -O qcow2 src.raw nodir/out.x
rebase base.qcow2
resize -f foo base.qcow2 1M
dd if=src.raw
bench --flush-interval=2 src.raw
bench -w -d 4 --flush-interval=2 src.raw
REFUSED
rm -f qemu-img

# exit codes of check: 0, 2, 3, 63; repair
cp base.qcow2 c.qcow2; printf '\0\0' | dd of=c.qcow2 bs=1 seek=$((131072 + 14)) conv=notrunc 2>/dev/null
$Q check -q c.qcow2 2>/dev/null; [ $? = 2 ] && ok "check: exit 2 on corruption" || nok "check: exit 2"
$Q check -q -r all c.qcow2 2>/dev/null; [ $? = 0 ] && ok "check -r all repairs" || nok "check -r all"
check "qemu-img agrees" qemu-img check -q c.qcow2
cp base.qcow2 c.qcow2; printf '\0\1' | dd of=c.qcow2 bs=1 seek=$((131072 + 20000)) conv=notrunc 2>/dev/null
$Q check -q c.qcow2 2>/dev/null; [ $? = 3 ] && ok "check: exit 3 on leaks" || nok "check: exit 3"
$Q check -q -r leaks c.qcow2 2>/dev/null; [ $? = 0 ] && ok "check -r leaks repairs" || nok "check -r leaks"
$Q check -q -f raw src.raw 2>/dev/null; [ $? = 63 ] && ok "check: exit 63 without a check" || nok "check: exit 63"
$Q check missing.qcow2 2>/dev/null; [ $? = 1 ] && ok "check: exit 1 when it cannot open" || nok "check: exit 1"
$Q compare -q base.qcow2 -F raw want.raw; [ $? = 1 ] && ok "compare: exit 1 on difference" || nok "compare: exit 1"
$Q frobnicate 2>out.txt; [ $? = 1 ] && grep -q "Command not found: frobnicate" out.txt && ok "unknown verb" || nok "unknown verb"

# dd, amend, several sources, pipes of progress
check "dd" $Q dd -f raw -O raw if=src.raw of=dd.raw bs=64k skip=3 count=20
dd if=src.raw of=dd2.raw bs=64k skip=3 count=20 2>/dev/null; same "dd content" dd.raw dd2.raw
check "amend" $Q amend -o refcount_bits=8,lazy_refcounts=on base.qcow2
check "amended image is clean" qemu-img check -q base.qcow2
$Q create -q -f qcow2 -o lazy_refcounts=on am.qcow2 4M
check "amend to version 2 drops lazy refcounts" $Q amend -o compat=0.10 am.qcow2
$Q create -q -f qcow2 am2.qcow2 4M; $Q snapshot -c s am2.qcow2
check "amend to 1-bit refcounts, nothing shared" $Q amend -o refcount_bits=1 am2.qcow2
check "narrow counts are clean" qemu-img check -q am2.qcow2
qemu-io -c 'write 0 64k' base.qcow2 >/dev/null; cp base.qcow2 am3.qcow2; $Q snapshot -c s am3.qcow2
$Q amend -o refcount_bits=1 am3.qcow2 2>out.txt; [ $? = 1 ] && grep -q references out.txt && ok "1-bit refcounts refused for shared clusters" || nok "1-bit refcounts refused"
check "refused amend left the image clean" qemu-img check -q am3.qcow2
check "two sources" $Q convert -f raw -O qcow2 src.raw want.raw cat.qcow2
cat src.raw want.raw >cat.raw; check "concatenated" qemu-img compare -q -F raw cat.qcow2 cat.raw
$Q convert -p -f raw -O qcow2 src.raw p.qcow2 | tr '\r' '\n' | tail -2 | grep -q '(100.00/100%)' && ok "progress ends at 100" || nok "progress"
sum=$(sha256sum <src.raw | cut -d' ' -f1); $Q convert --hash=sha256 -f raw -O qcow2 src.raw h.qcow2 | grep -q "$sum" && ok "hash of the content" || nok "hash"

# pipes and packed sources
cat src.raw | $Q convert -f raw -O qcow2 - pipe.qcow2 && ok "convert from a pipe" || nok "convert from a pipe"
check "piped content" qemu-img compare -q -F raw pipe.qcow2 src.raw
for z in xz gzip; do
    command -v $z >/dev/null || continue
    $z -c -1 <src.raw >src.$z; check "convert from $z" $Q convert -f raw -O qcow2 src.$z $z.qcow2
    check "$z content" qemu-img compare -q -F raw $z.qcow2 src.raw
    $Q convert -f qcow2 -O raw - z.raw < <($z -c <pipe.qcow2) && cmp -s z.raw src.raw && ok "packed qcow2 from a pipe ($z)" || nok "packed pipe ($z)"
done

# called as qemu-img: what tools grep and parse
ln -sf "$QUERN" qemu-img; ./qemu-img --version | head -1 | grep -Eq '^qemu-img version [0-9]+\.[0-9]+\.[0-9]+' && ok "qemu-img --version" || nok "qemu-img --version"
./qemu-img --help | grep -Eq '^ *info .*-U' && ok "qemu-img --help names info -U" || nok "qemu-img --help"
./qemu-img info --output=json -U base.qcow2 | python3 -c 'import json, sys; d = json.load(sys.stdin); assert {"virtual-size", "filename", "format", "actual-size", "dirty-flag", "cluster-size", "format-specific"} <= d.keys()' &&
    ok "qemu-img info --output=json" || nok "qemu-img info --output=json"
./qemu-img nosuch 2>out.txt; grep -q '^qemu-img: Command not found: nosuch' out.txt && ok "messages carry the name it was called by" || nok "name in messages"
./qemu-img convert -f raw -O qcow2 -r 4M src.raw u.qcow2 2>usr1.txt & P=$!
while kill -0 $P 2>/dev/null; do [ -e u.qcow2.quern-part ] && kill -USR1 $P 2>/dev/null; sleep 0.2; done; wait $P
grep -Eq '\([0-9.]+/100%\)' usr1.txt && ok "SIGUSR1 prints progress" || nok "SIGUSR1"
# rebase of a sparse overlay does not read its holes
$Q create -q -f qcow2 b1.qcow2 64G; $Q create -q -f qcow2 bb2.qcow2 64G; $Q create -q -f qcow2 -b b1.qcow2 -F qcow2 sp.qcow2
check "rebase of 64 GiB of nothing" timeout 20 $Q rebase -b bb2.qcow2 -F qcow2 sp.qcow2
# hostile names: loops, fifos, protocol names
$Q create -q -f qcow2 -u -b l2.qcow2 -F qcow2 l1.qcow2 1M; $Q create -q -f qcow2 -u -b l1.qcow2 -F qcow2 l2.qcow2 1M
timeout 20 $Q convert -O raw l1.qcow2 l.raw 2>/dev/null; [ $? = 1 ] && ok "looping backing files are refused" || nok "looping backing files"
[ ! -e l.raw ] && ok "no half file stays" || nok "half file"
# image policy: what names inside images may open
mkdir -p sub in; $Q create -q -f qcow2 sub/base.qcow2 1M; $Q create -q -f qcow2 -b "$PWD/sub/base.qcow2" -F qcow2 near.qcow2
$Q create -q -f qcow2 -b ../sub/base.qcow2 -F qcow2 in/far.qcow2; ln -s "$PWD/sub/base.qcow2" in/link; $Q create -q -f qcow2 -b link -F qcow2 in/linked.qcow2
check "policy beside: a folder below" $Q convert --image-policy=beside -O raw near.qcow2 p.raw
$Q convert --image-policy=beside -O raw in/far.qcow2 p.raw 2>out.txt; [ $? = 1 ] && grep -q "policy 'beside'" out.txt && ok "policy beside: not elsewhere" || nok "policy beside"
$Q convert --image-policy=beside -O raw in/linked.qcow2 p.raw 2>out.txt; [ $? = 1 ] && ok "policy beside: links are followed" || nok "policy beside: links"
$Q convert --image-policy=none -O raw near.qcow2 p.raw 2>out.txt; [ $? = 1 ] && grep -q "policy 'none'" out.txt && ok "policy none" || nok "policy none"
check "policy none: info opens no second file" $Q info --image-policy=none near.qcow2
$Q create -q -f vmdk -o subformat=monolithicFlat in/f.vmdk 1M; $Q convert --image-policy=none -O raw in/f.vmdk p.raw 2>out.txt; [ $? = 1 ] && ok "policy none: VMDK extents" || nok "policy none: VMDK extents"
$Q info --image-policy=some near.qcow2 2>out.txt; grep -q "any, beside or none" out.txt && ok "unknown policy" || nok "unknown policy"
for p in falloc full; do
    $Q create -q -f qcow2 -o preallocation=$p pa.qcow2 8M; $Q resize -q --preallocation=$p pa.qcow2 +4M
    [ "$(du -k pa.qcow2 | cut -f1)" -ge 12288 ] && ok "preallocation=$p takes its space" || nok "preallocation=$p takes $(du -k pa.qcow2)"
    check "preallocation=$p is clean" qemu-img check -q pa.qcow2
done
$Q convert -c -f raw -O vmdk src.raw cv.vmdk 2>/dev/null; [ $? = 1 ] && [ ! -e cv.vmdk ] && ok "a failed VMDK leaves no file" || nok "failed VMDK"
$Q convert -f raw -O vmdk src.raw cv.vmdk; grep -aq 'SPARSE "cv.vmdk"' cv.vmdk && ok "a VMDK names itself" || nok "VMDK name"
mkfifo pipe; $Q create -q -f qcow2 -u -b pipe -F raw f.qcow2 1M
timeout 10 $Q convert -O raw f.qcow2 l.raw 2>/dev/null; [ $? = 1 ] && ok "a fifo is refused at once" || nok "fifo"
$Q create -q -f qcow2 -u -b nbd:127.0.0.1:1 -F raw n.qcow2 1M
timeout 10 $Q convert -O raw n.qcow2 l.raw 2>out.txt; grep -q refused out.txt && ok "protocol names inside images are refused" || nok "protocol names"
finish
