# grubdisk: disks with GRUB and a kernel, made by file tools alone (no root, no loop devices); sourced after boot.sh.
GRUB=/usr/lib/grub/i386-pc
need_grub() { [ -f "$GRUB/boot.img" ] && command -v mformat >/dev/null && command -v grub-mkimage >/dev/null ||
    skip "no GRUB or mtools: apt-get install grub-pc-bin grub-common mtools"; }
# grub_modules NAME...: these and what they need, one a line.
grub_modules() {
    python3 - "$GRUB/moddep.lst" "$@" <<'P'
import sys
deps = {l.split(':')[0]: l.split(':')[1].split() for l in open(sys.argv[1]) if ':' in l}
todo, seen = sys.argv[2:], []
while todo:
    m = todo.pop()
    if m not in seen:
        seen.append(m)
        todo += deps.get(m, [])
print('\n'.join(seen))
P
}
# grub_disk IMAGE CONFIG MFORMAT-OPTIONS FILE...: a FAT file system whose reserved sectors hold GRUB's core, and the files.
# The configuration runs with root set to the disk firmware started from.
grub_disk() {
    img=$1 cfg=$2 how=$3; shift 3
    grub-mkimage -O i386-pc -p / -c "$cfg" -o "$tmp/core.img" biosdisk fat || skip "grub-mkimage does not work"
    # shellcheck disable=SC2086
    mformat -i "$img" -R 200 $how :: || fail "mformat"
    # BPB (bytes 3 to 89) stays; boot.img loads sector 1, which loads what follows it.
    dd if="$GRUB/boot.img" of="$img" bs=1 count=3 conv=notrunc 2>/dev/null
    dd if="$GRUB/boot.img" of="$img" bs=1 skip=90 seek=90 count=420 conv=notrunc 2>/dev/null
    dd if="$tmp/core.img" of="$img" bs=512 seek=1 conv=notrunc 2>/dev/null
    mmd -i "$img" ::/i386-pc
    for m in $(grub_modules linux multiboot echo serial halt minicmd); do
        mcopy -i "$img" "$GRUB/$m.mod" ::/i386-pc/ || fail "mcopy $m.mod"
    done
    mcopy -i "$img" "$GRUB/command.lst" "$GRUB/terminal.lst" "$GRUB/moddep.lst" ::/i386-pc/
    for f in "$@"; do mcopy -i "$img" "$f" "::/$(basename "$f")" || fail "mcopy $f"; done
}
