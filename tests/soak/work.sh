#!/bin/sh
# work: a Debian guest compiles quern's own sources, packs, unpacks and moves data over the network, round after round; all results must be the host's.
# usage: tests/soak/work.sh [SECONDS [ENGINE [CPUS]]]   (3600 jit 2)
# The same work is done once in a chroot of the same system on the host, and each round of the guest must give the same sums.
# Needs root, mmdebstrap, mke2fs, python3 and a Debian mirror in reach. QUERN: the program (build/quern). Status 0 if every round was right.
set -eu
secs=${1:-3600} engine=${2:-jit} cpus=${3:-2}
src=$(cd "$(dirname "$0")/../.." && pwd)
quern=${QUERN:-$src/build/quern}
for t in mmdebstrap mke2fs python3; do command -v $t >/dev/null || { echo "skipped: apt-get install $t"; exit 77; }; done
[ "$(id -u)" = 0 ] || { echo "skipped: needs root to make the system"; exit 77; }
. /etc/os-release
tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/quern-soak.XXXXXX"); pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$tmp"' EXIT

echo "making a Debian system with a compiler"
sources=$(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null || true)
# shellcheck disable=SC2086
mmdebstrap --quiet --variant=minbase --format=directory --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include=udev,kmod,iproute2,gcc,libc6-dev,libglib2.0-dev,pkg-config,xz-utils,zstd,bzip2,curl,perl,python3-minimal,linux-image-cloud-amd64 \
    "$VERSION_CODENAME" "$tmp/system" $sources > "$tmp/debstrap.log" 2>&1 ||
    { tail -5 "$tmp/debstrap.log"; echo "skipped: no Debian system could be made (is a mirror in reach?)"; exit 77; }
mkdir -p "$tmp/system/soak"
(cd "$src" && tar cf - util target/x86 softmmu/*.h hw/core/*.h) | tar xf - -C "$tmp/system/soak"
head -c 48000000 /dev/urandom > "$tmp/blob"

# One round: everything it prints is a sum that must be the same everywhere. The network's part comes from the caller.
cat > "$tmp/system/soak/round" <<'ROUND'
#!/bin/sh
cd /soak; export LC_ALL=C
flags=$(pkg-config --cflags glib-2.0 gio-2.0)
for f in target/x86/*.c util/*.c; do
    gcc -O2 -g0 -std=gnu11 -D_GNU_SOURCE -I. $flags -c "$f" -o /tmp/o.o 2>/dev/null || { echo "$f: not compiled"; continue; }
    echo "$f $(md5sum < /tmp/o.o | cut -c1-32)"
done
for p in "gzip -1" "bzip2 -1" "xz -1 -T1" "zstd -q -3 -T1"; do
    set -- $p
    tar --sort=name --mtime=@0 -cf - /usr/lib/gcc /usr/include 2>/dev/null | $p | tee /tmp/pack | md5sum
    $1 -dc < /tmp/pack | md5sum
done
perl -e 'my ($x, %h) = 1; for (1..300000) { $x = ($x * 1103515245 + 12345) % 2147483648; $h{$x % 5003} .= chr(97 + $x % 26) } print length(join "", map { "$_$h{$_}" } sort keys %h), "\n"'
python3 -c 'import hashlib; s = sum(i * i % 7 for i in range(400000)); print(s, hashlib.sha512(repr([x ** 0.5 for x in range(60000)]).encode()).hexdigest()[:16])'
ROUND
chmod +x "$tmp/system/soak/round"
echo "the host does the work once"
chroot "$tmp/system" /soak/round > "$tmp/expected"
grep -c ' ' "$tmp/expected"

cat > "$tmp/system/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
for m in proc:proc sysfs:sys devtmpfs:dev tmpfs:tmp; do mountpoint -q /\${m#*:} || mount -t \${m%:*} none /\${m#*:}; done
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
rounds=0; bad=0
while [ \$(cut -d. -f1 /proc/uptime) -lt $secs ]; do
    for i in \$(seq $cpus); do /soak/round > /soak/out.\$i & done
    curl -sf http://10.0.2.2:\$(cat /soak/port)/blob | tee /soak/blob | md5sum | cut -c1-32 > /soak/down
    curl -sf -T /soak/blob http://10.0.2.2:\$(cat /soak/port)/up > /soak/up
    wait
    for i in \$(seq $cpus); do cmp /soak/out.\$i /soak/expected || { diff /soak/out.\$i /soak/expected | head -20; bad=\$((bad + 1)); }; done
    cmp /soak/down /soak/blob.md5 || bad=\$((bad + 1)); cmp /soak/up /soak/blob.md5 || bad=\$((bad + 1))
    rounds=\$((rounds + 1)); echo "round \$rounds at \$(cut -d' ' -f1 /proc/uptime) s: \$bad wrong so far"
done
dmesg | grep -E "stall|lockup|general protection|BUG:|Oops|hung_task|traps:|WARNING:|segfault" && bad=\$((bad + 1))
echo "soak: \$rounds rounds, \$bad wrong"
sync; mount -o remount,ro /; echo o > /proc/sysrq-trigger; sleep 60
INIT
chmod +x "$tmp/system/init"

# A server on the loopback: GET gives the blob, PUT answers with the sum of what came.
cat > "$tmp/serve.py" <<'PY'
import hashlib, http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def reply(self, data):
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
    def do_GET(self): self.reply(open(sys.argv[1], "rb").read())
    def do_PUT(self):
        left, sum = int(self.headers["Content-Length"]), hashlib.md5()
        while left:
            part = self.rfile.read(min(left, 65536))
            if not part: return
            sum.update(part); left -= len(part)
        self.reply(sum.hexdigest().encode() + b"\n")
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
open(sys.argv[2], "w").write(str(s.server_port))
s.serve_forever()
PY
python3 "$tmp/serve.py" "$tmp/blob" "$tmp/port" & pids="$pids $!"
while [ ! -s "$tmp/port" ]; do sleep 0.2; done
cp "$tmp/expected" "$tmp/port" "$tmp/system/soak/"
md5sum < "$tmp/blob" | cut -c1-32 > "$tmp/system/soak/blob.md5"
mke2fs -q -t ext4 -d "$tmp/system" "$tmp/disk.raw" 3G
cp -L "$tmp/system/vmlinuz" "$tmp/kernel"; cp -L "$tmp/system/initrd.img" "$tmp/initrd"; rm -rf "$tmp/system"

echo "the guest works for $secs s with $cpus processors ($engine)"
: > "$tmp/serial"; tail -f "$tmp/serial" & pids="$pids $!"
rc=0
timeout $((secs * 2 + 1800)) "$quern" -accel "$engine" -smp "$cpus" -m 1536 -display none -serial "file:$tmp/serial" -monitor none -vga none \
    -no-reboot -kernel "$tmp/kernel" -initrd "$tmp/initrd" -append "root=/dev/vda rw init=/init net.ifnames=0 console=ttyS0 quiet panic=-1" \
    -drive "file=$tmp/disk.raw,if=virtio,format=raw" -nic user,model=virtio-net-pci </dev/null || rc=$?
sleep 1
[ "$rc" = 0 ] || { echo "FAILED: quern's exit status is $rc"; exit 1; }
grep -qE "soak: [1-9][0-9]* rounds, 0 wrong" "$tmp/serial"
