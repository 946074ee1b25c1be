#!/bin/sh
# build.sh OUTDIR: builds the bare-metal guests into OUTDIR: multiboot ELF files, and BIOS images that are the guest alone.
set -e
here=$(cd "$(dirname "$0")" && pwd); out=$1; mkdir -p "$out"
flags="-m32 -march=i686 -O1 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -fcf-protection=none -Wall -Wextra -Werror"
for g in excp32 tasks32 v86 irq32 exits32 resume32 motion32; do
    [ -f "$here/$g.c" ] || continue
    gcc $flags -nostdlib -static -Wl,-T,"$here/guest.lds" -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -o "$out/$g.elf" \
        "$here/start32.S" "$here/guest32.c" "$here/$g.c"
done

for g in long64; do
    gcc -m64 -mcmodel=kernel -mno-red-zone ${flags#-m32 -march=i686} -nostdlib -static -Wl,-T,"$here/guest.lds" -Wl,--build-id=none \
        -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments -o "$out/$g.64" "$here/start64.S" "$here/$g.c"
    objcopy -O elf32-i386 "$out/$g.64" "$out/$g.elf"
    rm "$out/$g.64"
done

for g in vga16; do
    gcc -m16 ${flags#-m32} -Os -nostdlib -static -Wl,-T,"$here/boot16.lds" -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
        -o "$out/$g.elf16" "$here/boot16.S" "$here/$g.c"
    objcopy -O binary "$out/$g.elf16" "$out/$g.img"
    rm "$out/$g.elf16"
done

gcc -c -o "$out/rom.o" "$here/rom.S"
objcopy -O binary -j .rom "$out/rom.o" "$out/rom.tail"
for elf in "$out"/*.elf; do
    rom=${elf%.elf}.rom
    objcopy -O binary "$elf" "$out/body"
    [ "$(stat -c %s "$out/body")" -le 64000 ] || continue
    entry=0x$(readelf -h "$elf" | sed -n 's/.*Entry point address: *0x//p')
    truncate -s 65020 "$out/body"
    for shift in 0 8 16 24; do
        printf "\\$(printf '%03o' $((entry >> shift & 255)))"
    done | cat "$out/body" - "$out/rom.tail" > "$rom"
done
rm -f "$out/body" "$out/rom.o" "$out/rom.tail"
