#!/usr/bin/env bash
# Unpacks the program cephadm of this machine's Debian into the cache, and prints its path. Its package is not installed: it
# would bring lvm2 and a user of its own, and nothing of this is for a cluster.
#
#   e2e/cephadm.sh
set -euo pipefail

directory=${RGW_NATS_CACHE:-/var/cache/rgw_nats}/cephadm
program=$directory/usr/sbin/cephadm
if [ ! -e "$program" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  { apt-get download cephadm || { apt-get update && apt-get download cephadm; }; } >&2
  dpkg-deb -x cephadm_*.deb unpacked
  mkdir -p "$(dirname "$directory")"
  rm -rf "$directory"
  mv -T unpacked "$directory"
fi
echo "$program"
