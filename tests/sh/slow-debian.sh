# slow-debian: a Debian system made by mmdebstrap boots from a virtio disk with systemd, gets its address by DHCP, answers ssh, powers off.
. "$QUERN_SRC/tests/sh/lib/boot.sh"
for t in mmdebstrap mke2fs ssh ssh-keygen; do command -v "$t" >/dev/null || skip "no $t"; done
[ "$(id -u)" = 0 ] || skip "needs root to make the system"
. /etc/os-release
sources=$(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null || true)
ssh-keygen -q -t ed25519 -N "" -f "$tmp/key"
mkdir -p "$tmp/extra/etc/systemd/network" "$tmp/extra/root/.ssh"
printf '[Match]\nType=ether\n[Network]\nDHCP=yes\n' > "$tmp/extra/etc/systemd/network/all.network"
cp "$tmp/key.pub" "$tmp/extra/root/.ssh/authorized_keys"
echo "/dev/vda / ext4 defaults 0 1" > "$tmp/extra/etc/fstab"
echo quern-debian > "$tmp/extra/etc/hostname"
# shellcheck disable=SC2086
TMPDIR=${TMPDIR:-/var/tmp} timeout 400 mmdebstrap --quiet --variant=minbase --format=directory \
    --include=systemd-sysv,udev,dbus,iproute2,openssh-server,linux-image-cloud-amd64 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="copy-in $tmp/extra/etc $tmp/extra/root /" \
    --customize-hook='chroot "$1" chown -R root:root /root /etc/fstab /etc/hostname' \
    --customize-hook='chroot "$1" chmod 700 /root /root/.ssh' \
    --customize-hook='chroot "$1" systemctl -q enable systemd-networkd ssh' \
    "$VERSION_CODENAME" "$tmp/system" $sources > "$tmp/debstrap.log" 2>&1 ||
    { tail -5 "$tmp/debstrap.log"; skip "no Debian system could be made (is a mirror in reach?)"; }
mke2fs -q -t ext4 -d "$tmp/system" "$tmp/disk.raw" 1500M
cp -L "$tmp/system/vmlinuz" "$tmp/kernel" && cp -L "$tmp/system/initrd.img" "$tmp/initrd"
rm -rf "$tmp/system"
"$QUERN" img convert -O qcow2 "$tmp/disk.raw" "$tmp/disk.qcow2" && rm "$tmp/disk.raw"
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
rc=0
timeout 300 "$QUERN" -display none -serial "file:$tmp/serial" -monitor null -vga none -m 768 -accel "${ACCEL:-jit}" \
    -kernel "$tmp/kernel" -initrd "$tmp/initrd" -append "root=/dev/vda rw console=ttyS0 panic=-1" \
    -drive "file=$tmp/disk.qcow2,if=virtio,format=qcow2" -device virtio-rng-pci \
    -nic "user,model=${NIC:-virtio-net-pci},hostfwd=tcp:127.0.0.1:$port-:22" </dev/null & guest=$!
guest_ssh() {
    ssh -q -i "$tmp/key" -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o ConnectTimeout=20 -o BatchMode=yes root@127.0.0.1 "$@"
}
for i in $(seq 140); do
    kill -0 $guest 2>/dev/null || fail "the guest ended early"
    guest_ssh true && break
    sleep 1
done
guest_ssh "hostname; systemctl is-system-running --wait; ip -4 -o addr show; cut -d' ' -f1 /proc/uptime" > "$tmp/out" 2>&1 || true
cat "$tmp/out"
grep -q quern-debian "$tmp/out" || fail "no ssh login"
grep -q "10\.0\.2\.15/24" "$tmp/out" || fail "no address by DHCP"
grep -q "^running" "$tmp/out" || { guest_ssh "systemctl --failed"; fail "systemd is not content"; }
head -c 30000000 /dev/urandom > "$tmp/data"
[ "$(guest_ssh md5sum < "$tmp/data" | cut -c1-32)" = "$(md5sum < "$tmp/data" | cut -c1-32)" ] || fail "data through ssh differ"
guest_ssh poweroff || true
wait $guest || rc=$?
[ $rc = 0 ] || fail "exit status $rc"
"$QUERN" img check "$tmp/disk.qcow2" || fail "the image is damaged"
