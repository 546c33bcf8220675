#!/usr/bin/env bash
# Makes the root file system of one Ceph release, or finds it in the cache, and prints its path.
#
#   e2e/rootfs.sh 16.2|18.2|20.2
#
# The Debian suite decides which Ceph and which nats-server are in it: bookworm 16.2.15 and 2.9, trixie 18.2.7 and
# 2.10, forky 20.2.4 and 2.15. The cache is outside of the clone (RGW_NATS_CACHE, default /var/cache/rgw_nats), and an
# entry is named after what this script installs, so that a change here makes it anew. A root file system appears
# under its name only when it is whole. The mirror is the one that this machine's apt uses.
set -euo pipefail

cache=${RGW_NATS_CACHE:-/var/cache/rgw_nats}
case ${1:-} in
  16.2) suite=bookworm ;;
  18.2) suite=trixie ;;
  20.2) suite=forky ;;
  *) echo "usage: $0 16.2|18.2|20.2" >&2; exit 2 ;;
esac
# luarocks wants zip, unzip and wget; lua5.4 is there to try the rock for 5.4.
packages=(ceph-mon ceph-osd ceph-common radosgw nats-server luarocks lua5.3 lua5.4 zip unzip wget ca-certificates)
id=$(printf '%s\n' 3 "$suite" "${packages[@]}" | sha256sum | cut -c1-12)
root=$cache/rootfs/$suite-$id
say() { printf 'rootfs %s: %s\n' "$1" "$2" >&2; }

mkdir -p "$cache/rootfs"
exec 9> "$cache/rootfs/$suite.lock"
flock 9
if [ -e "$root/.complete" ]; then
  echo "$root"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
[ -n "$mirror" ] || { echo "rootfs: apt knows no package mirror; run apt-get update" >&2; exit 1; }
work=$cache/rootfs/.making-$suite
log=$cache/rootfs/$suite.log
script=/usr/share/debootstrap/scripts/$suite
own_script=
if [ ! -e "$script" ]; then
  # An older debootstrap does not know a newer suite; all of Debian's are made as sid is.
  own_script=$cache/rootfs/.script-$suite
  ln -sfn /usr/share/debootstrap/scripts/sid "$own_script"
fi
unmount() { umount "$work/proc" 2> /dev/null || true; }
trap unmount EXIT
unmount
rm -rf --one-file-system "$work"
say "$suite" "making it with debootstrap from this machine's mirror (some minutes, once; log: $log)"
make_root() {
  set -e
  debootstrap --variant=minbase "$suite" "$work" "$mirror" ${own_script:+"$own_script"}
  # Packages that configure themselves read /proc; none may start a service.
  mount -t proc proc "$work/proc"
  printf '#!/bin/sh\nexit 101\n' > "$work/usr/sbin/policy-rc.d"
  chmod 755 "$work/usr/sbin/policy-rc.d"
  {
    printf 'Acquire::Retries "3";\nAPT::Install-Recommends "false";\n'
    # A mirror's copy of a suite in the making can be older than the suite allows.
    printf 'Acquire::Check-Valid-Until "false";\n'
  } > "$work/etc/apt/apt.conf.d/90rgw_nats"
  cp /etc/resolv.conf "$work/etc/resolv.conf"
  # A machine that reaches its mirror through a proxy says so here.
  grep -ls 'Acquire::http' /etc/apt/apt.conf.d/* | while read -r file; do cp "$file" "$work/etc/apt/apt.conf.d/"; done || true
  chroot "$work" apt-get update
  DEBIAN_FRONTEND=noninteractive chroot "$work" apt-get install -y "${packages[@]}"
  chroot "$work" apt-get clean
  rm -rf "$work"/var/lib/apt/lists/*
  umount "$work/proc"
}
# In the background, as bash takes no notice of set -e in what is part of a condition.
make_root > "$log" 2>&1 9>&- &
wait $! || { say "$suite" "failed; the end of $log:"; tail -n 20 "$log" >&2; exit 1; }
touch "$work/.complete"
# Earlier recipes of this suite are of no use any more.
find "$cache/rootfs" -maxdepth 1 -name "$suite-*" -exec rm -rf --one-file-system {} +
mv -T "$work" "$root"
say "$suite" "made: $(chroot "$root" radosgw --version | cut -d' ' -f1-3)"
echo "$root"
