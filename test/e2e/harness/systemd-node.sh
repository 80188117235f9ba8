# Makes a root of its own for systemd and becomes it: process 1 of new namespaces.
# usage: systemd-node.sh DIRECTORY EXECUTABLE-OF-NODE BOUND-DIRECTORY…
set -eu
directory=$1 node=$2
shift 2
root=$directory/root

mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$root"
mount --bind "$directory/etc" "$root/etc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/lock"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"

mount -t proc proc "$root/proc"
# The kernel's settings are the machine's, not the node's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

# Devices of its own: systemd writes to /dev/console and /dev/kmsg where they are there.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# What this machine has installed is not started on the node.
for services in "$root"/usr/lib/systemd/system/*.wants "$root/usr/lib/systemd/system-generators"; do
  mount -t tmpfs -o mode=755 tmpfs "$services"
done

: > "$root/opt/node"
mount --bind "$node" "$root/opt/node"
mount -o remount,bind,ro "$root/opt/node"
for bound in "$@"; do
  mkdir -p "$root$bound"
  mount --bind "$bound" "$root$bound"
done

cd /
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  chroot "$root" /lib/systemd/systemd --unit=multi-user.target --log-level=info --show-status=no
