#!/bin/sh
# stress-ng: boots Debian's kernel with stress-ng in its initramfs and lets it verify what the CPUs compute.
# usage: tests/soak/stress-ng.sh [SECONDS [ENGINE [CPUS [STRESSORS]]]]   (300 jit 2, all of below)
# Needs Debian's stress-ng, busybox-static and linux-image-amd64. QUERN: the program (build/quern).
# Output: the guest's log and a verdict; status 0 if stress-ng found no error and the kernel had no complaint.
set -eu
secs=${1:-300} engine=${2:-jit} cpus=${3:-2} only=${4:-}
src=$(cd "$(dirname "$0")/../.." && pwd)
quern=${QUERN:-$src/build/quern}
kernel=$(ls /boot/vmlinuz-*-amd64 2>/dev/null | sort -V | tail -1)
prog=$(command -v stress-ng) || { echo "skipped: apt-get install stress-ng"; exit 77; }
bb=$(command -v busybox) || { echo "skipped: apt-get install busybox-static"; exit 77; }
[ -r "$kernel" ] || { echo "skipped: apt-get install linux-image-amd64"; exit 77; }
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
root=$tmp/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/lib64"
cp "$bb" "$root/bin/busybox"; cp -L "$prog" "$root/bin/stress-ng"
for lib in $(ldd "$prog" | grep -o '/[^ ]*'); do mkdir -p "$root$(dirname "$lib")"; cp -L "$lib" "$root$lib"; done

# What is run, in groups that share the time: all stressors of a group one after another, on all CPUs.
cpu="cpu,bsearch,crypt,fp-error,funccall,heapsort,hsearch,longjmp,lsearch,mergesort,nop,opcode,qsort,radixsort,skiplist,str,tree,tsearch,wcs,zlib"
vector="matrix,matrix-3d,memcpy,shellsort,stream,vecmath,vecwide,hash"
memory="atomic,bigheap,brk,cache,icache,lockbus,malloc,mcontend,membarrier,memrate,null,pageswap,stack,stackmmap,tlb-shootdown,tsc"
vm="vm,mmap,mmapfork,mprotect,mremap,mlock,shm,userfaultfd,vm-rw,fork,vfork,pthread,sigsegv,sigfpe,signal,switch,context,futex,pipe"
[ -z "$only" ] || { cpu=$only; vector= memory= vm=; }
groups=$(for g in "$cpu" "$vector" "$memory" "$vm"; do [ -z "$g" ] || echo "$g"; done)
n=$(echo "$groups" | tr ',' '\n' | wc -l); each=$((secs / n)); [ "$each" -ge 1 ] || each=1

cat > "$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mkdir -p /dev/shm; mount -t tmpfs tmp /tmp; mount -t tmpfs shm /dev/shm
ulimit -c 0; cd /tmp; fails=0; runs=0
for s in $(echo $groups | tr ',' ' '); do
    stress-ng --\$s $cpus --timeout ${each}s --verify --temp-path /tmp --oomable --vm-bytes 48m > /tmp/out 2>&1
    rc=\$?; runs=\$((runs + 1))
    case \$rc in
    0) ;;
    3|4) echo "not run here: \$s" ;;
    *) echo "FAILED: \$s (status \$rc)"; tail -20 /tmp/out; fails=\$((fails + 1)) ;;
    esac
done
dmesg | grep -E "stall|lockup|general protection|BUG:|Oops|hung_task|traps:|WARNING:|unexpected" | grep -vE "stress-ng-(sigsegv|sigfpe|opcode|fp-err|sigill|icache)" > /tmp/bad
[ ! -s /tmp/bad ] || { echo "KERNEL COMPLAINS:"; head -40 /tmp/bad; fails=\$((fails + 1)); }
echo "stress-ng: \$runs stressors, \$fails failures"
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$tmp/initrd"
rc=0
timeout $((secs * 6 + 300)) "$quern" -accel "$engine" -smp "$cpus" -m 768 -display none -serial "file:$tmp/serial" -monitor none \
    -nic none -vga none -no-reboot -kernel "$kernel" -initrd "$tmp/initrd" -append "console=ttyS0 quiet panic=-1" </dev/null || rc=$?
cat "$tmp/serial"
[ "$rc" = 0 ] || { echo "FAILED: quern's exit status is $rc"; exit 1; }
grep -q "stressors, 0 failures" "$tmp/serial"
