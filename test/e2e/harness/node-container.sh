# Becomes a container: a root that has its own programs and these mounts, no capability, and nothing of the node. It is
# process 1 of new namespaces already.
# usage: node-container.sh EXECUTABLE-OF-NODE (ro|rw SOURCE TARGET)… -- COMMAND…
set -eu
node=$1
shift
root=/run/container-root

mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root/usr" "$root/proc" "$root/dev" "$root/opt" "$root/before"
mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
for file in "$root$node" "$root/dev/null" "$root/dev/urandom"; do : > "$file"; done
mount --bind "$node" "$root$node"
mount --bind /dev/null "$root/dev/null"
mount --bind /dev/urandom "$root/dev/urandom"
mount -t proc proc "$root/proc"

while [ "$1" != -- ]; do
  if [ -d "$2" ]; then
    mkdir -p "$root$3"
  else
    mkdir -p "$root${3%/*}"
    : > "$root$3"
  fi
  mount --bind "$2" "$root$3"
  [ "$1" = rw ] || mount -o remount,bind,ro "$root$3"
  shift 3
done
shift

cd "$root"
pivot_root . before
umount -l /before
mount -o remount,ro /
cd /
exec env -i PATH=/usr/local/bin:/usr/bin:/bin setpriv --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
