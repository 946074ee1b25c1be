#!/bin/sh
# lazy-libs: writes assembler that stands in for shared libraries, so that they are loaded at their first call.
# usage: lazy-libs.sh CC OUT.s OUT.libs "-lA -lB ..." objects and archives...
# Each function our objects take from such a library becomes a jump through a slot; the slot first leads to
# lazylib_resolve() (cli/lazylib.c). Libraries whose variables we use, and those named in keep, go to OUT.libs as they are.
set -eu
cc=$1 out=$2 libsout=$3 libs=$4; shift 4
keep=" glib-2.0 m pthread "
tmp=$out.$$                     # two builds may run at once in one tree: each writes files of its own, then renames
trap 'rm -f "$tmp".*' EXIT
nm -u "$@" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u > "$tmp.undef"
nm --defined-only "$@" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u > "$tmp.own"
comm -23 "$tmp.undef" "$tmp.own" > "$tmp.need"
: > "$tmp.list"
rest=
for l in $libs; do
    name=${l#-l} file=$($cc -print-file-name="lib${l#-l}.so")
    case $l in -l*) ;; *) rest="$rest $l"; continue ;; esac
    case $keep in *" $name "*) rest="$rest $l"; continue ;; esac
    [ -e "$file" ] || { rest="$rest $l"; continue; }
    soname=$(objdump -p "$file" 2>/dev/null | awk '$1 == "SONAME" { print $2 }') || soname=
    [ -n "$soname" ] || { rest="$rest $l"; continue; }
    nm -D --defined-only "$file" | awk '{ sub(/@.*/, "", $3); print $3, $2 }' | sort -u -k1,1 | join - "$tmp.need" > "$tmp.syms"
    if awk '$2 !~ /^[TWi]$/ { bad = 1 } END { exit !bad }' "$tmp.syms"; then rest="$rest $l"; continue; fi
    awk -v so="$soname" '{ print so, $1 }' "$tmp.syms" >> "$tmp.list"
done
echo "$rest" > "$tmp.libs"
sort -u -k2,2 "$tmp.list" | sort -k1,1 -k2,2 | awk '
    BEGIN { print "/* Written by scripts/lazy-libs.sh. */\n\t.text" }
    {
        if ($1 != so) { so = $1; n[++libs] = 0; lib[libs] = so }
        i = n[libs]++; sym[libs, i] = $2
        printf "\t.globl %s\n\t.type %s,@function\n\t.p2align 4\n%s:\n\tendbr64\n\tjmp *.Lslot_%s(%%rip)\n", $2, $2, $2, $2
        printf ".Lfirst_%s:\n\tpush $%d\n\tpush $%d\n\tjmp .Lcommon\n", $2, i, libs - 1
    }
    END {
        # All argument registers survive; then a jump to the function, as if it had been called directly.
        print ".Lcommon:"
        k = split("rax rdi rsi rdx rcx r8 r9 r10 r11 rbp", reg, " ")
        for (i = 1; i <= k; i++) print "\tpush %" reg[i]
        print "\tmov %rsp,%rbp\n\tsub $128,%rsp\n\tand $-16,%rsp"
        for (i = 0; i < 8; i++) printf "\tmovups %%xmm%d,%d(%%rsp)\n", i, 16 * i
        print "\tmov 80(%rbp),%rdi\n\tmov 88(%rbp),%rsi\n\tcall lazylib_resolve\n\tmov %rax,88(%rbp)"
        for (i = 0; i < 8; i++) printf "\tmovups %d(%%rsp),%%xmm%d\n", 16 * i, i
        print "\tmov %rbp,%rsp"
        for (i = k; i >= 1; i--) print "\tpop %" reg[i]
        print "\tadd $8,%rsp\n\tpop %r11\n\tjmp *%r11"
        print "\t.section .rodata"
        for (l = 1; l <= libs; l++) {
            printf ".Lso_%d:\t.string \"%s\"\n", l, lib[l]
            for (i = 0; i < n[l]; i++) printf ".Ln_%d_%d:\t.string \"%s\"\n", l, i, sym[l, i]
        }
        print "\t.section .data.rel.local,\"aw\"\n\t.p2align 3"
        for (l = 1; l <= libs; l++) {
            printf ".Lslots_%d:\n", l
            for (i = 0; i < n[l]; i++) printf ".Lslot_%s:\t.quad .Lfirst_%s\n", sym[l, i], sym[l, i]
            printf ".Lnames_%d:\n", l
            for (i = 0; i < n[l]; i++) printf "\t.quad .Ln_%d_%d\n", l, i
        }
        print "\t.globl lazylib_table\nlazylib_table:"
        for (l = 1; l <= libs; l++) printf "\t.quad .Lso_%d, .Lnames_%d, .Lslots_%d, %d, 0\n", l, l, l, n[l]
        print "\t.quad 0, 0, 0, 0, 0\n\t.section .note.GNU-stack,\"\",@progbits"
    }' > "$tmp.s"
mv "$tmp.libs" "$libsout"
mv "$tmp.s" "$out"
