# slow-pxe: network boot on each card: iPXE's ROM asks DHCP, fetches pxelinux, the Debian installer's kernel and initrd from slirp's TFTP.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
images=/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64
[ -r "$images/linux" ] || skip "no debian-installer-12-netboot-amd64"
[ -r /usr/lib/PXELINUX/pxelinux.0 ] && [ -r /usr/lib/syslinux/modules/bios/ldlinux.c32 ] || skip "no pxelinux, syslinux-common"
[ -r /usr/lib/ipxe/qemu/efi-e1000.rom ] || skip "no ipxe-qemu"
t=$tmp/tftp; mkdir -p "$t/pxelinux.cfg"
cp "$images/linux" "$images/initrd.gz" /usr/lib/PXELINUX/pxelinux.0 /usr/lib/syslinux/modules/bios/ldlinux.c32 "$t/"
cat > "$t/pxelinux.cfg/default" <<'CFG'
SERIAL 0 115200
DEFAULT auto
PROMPT 0
LABEL auto
  KERNEL linux
  APPEND initrd=initrd.gz console=ttyS0,115200n8 DEBIAN_FRONTEND=text TERM=dumb panic=-1
CFG
for nic in ${NICS:-virtio-net-pci e1000 rtl8139}; do
    : > "$tmp/serial"
    timeout "${LIMIT:-200}" "$QUERN" -display none -machine graphics=off -serial "file:$tmp/serial" -monitor null -m 1300 \
        -accel "${ACCEL:-jit}" -boot n -device "$nic,netdev=n,bootindex=0" -netdev "user,id=n,tftp=$t,bootfile=pxelinux.0" </dev/null & guest=$!
    seen=
    while kill -0 $guest 2>/dev/null; do
        ! grep -aq "Select a language\|Choose language\|Low memory" "$tmp/serial" || { seen=1; break; }
        sleep 1
    done
    kill $guest 2>/dev/null || true; wait $guest || true
    grep -a -m3 "iPXE 1\|pxelinux.0\|PXELINUX" "$tmp/serial" || true
    [ "$seen" ] || fail "$nic: the installer did not come up"
    echo "ok network boot through $nic"
done
