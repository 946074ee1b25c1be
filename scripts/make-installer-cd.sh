#!/bin/sh
# make-installer-cd: a Debian installer CD (BIOS, isolinux) from Debian's own installer package.
# usage: make-installer-cd.sh OUT.iso [amd64|i386]
set -eu
out=$1 arch=${2:-amd64}
images=/usr/lib/debian-installer/images/12/$arch/text/debian-installer/$arch
need() { [ -e "$1" ] || { echo "make-installer-cd: $1 is missing: apt-get install $2" >&2; exit 77; }; }
need "$images/linux" "debian-installer-12-netboot-$arch"
need /usr/lib/ISOLINUX/isolinux.bin isolinux
need /usr/lib/syslinux/modules/bios/ldlinux.c32 syslinux-common
command -v xorriso >/dev/null || { echo "make-installer-cd: apt-get install xorriso" >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/isolinux" "$dir/install"
cp "$images/linux" "$images/initrd.gz" "$dir/install/"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$dir/isolinux/"
cat > "$dir/isolinux/isolinux.cfg" <<'CFG'
SERIAL 0 115200
PROMPT 1
TIMEOUT 30
DEFAULT install
SAY Debian installer: Enter installs in text mode, "serial" uses the serial port.
LABEL install
  KERNEL /install/linux
  APPEND initrd=/install/initrd.gz vga=normal fb=false nomodeset --- quiet
LABEL serial
  KERNEL /install/linux
  APPEND initrd=/install/initrd.gz console=ttyS0,115200 --- quiet
CFG
xorriso -as mkisofs -quiet -o "$out" -V "DEBIAN_12_INSTALL" -J -R -c isolinux/boot.cat \
    -b isolinux/isolinux.bin -no-emul-boot -boot-load-size 4 -boot-info-table "$dir" 2>/dev/null
