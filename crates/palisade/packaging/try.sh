#!/bin/sh
# Tries the package in a fresh Debian 12 that boots with its own kernel and systemd in an emulator:
# about ten minutes, no network in the guest, nothing left behind but the package.
#
#     packaging/try.sh [PACKAGE]
#
# Needs root, debootstrap, qemu-system-x86, e2fsprogs, and a mirror of Debian.
set -eu
here=$(realpath "$(dirname "$0")")
package=${1:-$(ls -t "$here"/../../../target/debian/palisade_*.deb | head -n 1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

tools=systemd,systemd-sysv,dbus,mosquitto-clients,ca-certificates,procps
kernel=linux-image-cloud-amd64,initramfs-tools
debootstrap --variant=minbase --include=$tools,$kernel bookworm "$root" > "$work/log" ||
    { cat "$work/log"; exit 1; }
cp "$package" "$root/root/palisade.deb"
# What it depends on comes now; the package itself comes once the system runs.
chroot "$root" sh -c 'cd /root && env DEBIAN_FRONTEND=noninteractive apt-get install -qy \
    --no-install-recommends ./palisade.deb && dpkg --purge palisade' > "$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
install -m 755 "$here/try-inside.sh" "$root/root/"
echo '/dev/vda / ext4 defaults 0 1' > "$root/etc/fstab"
echo '127.0.0.1 localhost' > "$root/etc/hosts"
cat > "$root/etc/systemd/system/try.service" <<END
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/root/try-inside.sh
Environment=NO_COLOR=1 SYSTEMD_COLORS=0
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
END
chroot "$root" systemctl --quiet enable try.service
chroot "$root" systemctl --quiet mask serial-getty@ttyS0.service systemd-timesyncd.service

cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/initrd"
truncate -s 3G "$work/disk"
mkfs.ext4 -q -d "$root" "$work/disk"
timeout 1800 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nographic \
    -no-reboot -nic none -kernel "$work/vmlinuz" -initrd "$work/initrd" \
    -append "console=ttyS0 root=/dev/vda rw quiet systemd.show_status=0 panic=1" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" < /dev/null | tee "$work/log"
grep -q 'all of it worked' "$work/log"
