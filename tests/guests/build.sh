#!/bin/sh
# build.sh OUTDIR: builds the bare-metal guests into OUTDIR (multiboot ELF files).
set -e
here=$(cd "$(dirname "$0")" && pwd); out=$1; mkdir -p "$out"
flags="-m32 -march=i686 -O1 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -fcf-protection=none -Wall -Wextra -Werror"
for g in excp32 tasks32 v86; do
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
