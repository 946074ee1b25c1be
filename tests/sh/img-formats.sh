#!/bin/bash
# img-formats: every format and option, written by one tool and read by the other, with equal info.
. "$QUERN_SRC/tests/block/img-lib.sh"
source_image src.raw 12 1

while read -r fmt opts; do
    [ -n "$fmt" ] || continue
    o=${opts:+-o $opts}; name="$fmt${opts:+ $opts}"
    rm -f q.img* q-*.vmdk e.img* e-*.vmdk d.raw
    # shellcheck disable=SC2086
    check "$name: quern converts" $Q convert -f raw -O "$fmt" $o src.raw q.img
    check "$name: qemu-img reads it" qemu-img compare -q -f raw -F "$fmt" src.raw q.img
    check "$name: quern reads it" $Q compare -f raw -F "$fmt" src.raw q.img
    qemu-img check -q -f "$fmt" q.img; case $? in 0 | 63) ok "$name: qemu-img check is clean" ;; *) nok "$name: qemu-img check" ;; esac
    qemu-img info --output=json q.img >a.json; $Q info --output=json q.img >b.json
    # info opens no second file, so it does not know the sizes of extents elsewhere
    case $name in *monolithicFlat* | *twoGb*) skip="actual-size cluster-size" ;; *) skip= ;; esac
    # shellcheck disable=SC2086
    { json a.json $skip >a.txt; json b.json $skip >b.txt; }; same "$name: same info" a.txt b.txt
    # shellcheck disable=SC2086
    qemu-img convert -f raw -O "$fmt" $o src.raw e.img
    check "$name: quern reads qemu-img's" $Q compare -f raw -F "$fmt" src.raw e.img
    $Q check -q -f "$fmt" e.img; case $? in 0 | 63) ok "$name: quern check is clean" ;; *) nok "$name: quern check" ;; esac
    case $name in
    qcow2*data_file*) ;;
    qcow2*) qemu-img check --output=json e.img >a.json; $Q check --output=json e.img >b.json
        json a.json >a.txt; json b.json >b.txt; same "$name: same check result" a.txt b.txt
        qemu-img map --output=json e.img >a.json; $Q map --output=json e.img >b.json
        json a.json >a.txt; json b.json >b.txt; same "$name: same map" a.txt b.txt ;;
    esac
done <<LIST
raw
qcow2
qcow2 cluster_size=512
qcow2 cluster_size=4k,refcount_bits=1
qcow2 cluster_size=2M
qcow2 cluster_size=32k,extended_l2=on
qcow2 compat=0.10
qcow2 lazy_refcounts=on,refcount_bits=64
qcow2 compression_type=zstd
vdi
vdi static=on
vpc force_size=on
vpc subformat=fixed,force_size=on
vhdx
vhdx subformat=fixed
vmdk
vmdk subformat=monolithicFlat
vmdk subformat=twoGbMaxExtentSparse
vmdk subformat=twoGbMaxExtentFlat
vmdk subformat=streamOptimized
LIST
for c in zlib zstd; do
    rm -f q.img e.img
    check "compressed $c: quern converts" $Q convert -c -f raw -O qcow2 -o compression_type=$c src.raw q.img
    check "compressed $c: qemu-img reads it" qemu-img compare -q -f raw src.raw q.img
    check "compressed $c: qemu-img check is clean" qemu-img check -q q.img
    qemu-img convert -c -f raw -O qcow2 -o compression_type=$c src.raw e.img
    check "compressed $c: quern reads qemu-img's" $Q compare -f raw src.raw e.img
done
finish
