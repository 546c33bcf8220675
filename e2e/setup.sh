#!/usr/bin/env bash
# Installs what the tests need: Debian's packages, the Python environment, and a root file system for each Ceph release
# that is named. Does nothing that is done already. As root, on Debian 12 or newer.
#
#   e2e/setup.sh [16.2] [18.2] [20.2]
#
# Prints the directory of the Python environment.
set -euo pipefail
cd "$(dirname "$0")"

cache=${RGW_NATS_CACHE:-/var/cache/rgw_nats}
packages=(
  gcc g++ make pkg-config git ca-certificates      # to build
  liblua5.3-dev liblua5.4-dev lua5.3 lua5.4        # the two Luas
  lua5.1 lua5.2 luajit binutils                    # and those that must hear that they are not supported
  luarocks zip unzip wget                          # the rocks
  dpkg-dev                                         # the source of Lua 5.4 for radosgw
  lua-busted lua-check lua-socket lua-dkjson       # the specs
  nats-server debootstrap mount util-linux         # the servers
  curl                                             # what make up prints
  openssl iproute2 e2fsprogs                       # their certificates, networks and disks
  podman runc catatonit busybox-static             # images
  shellcheck                                       # the shell of manifests and pages
  python3-venv python3
)
say() { printf 'setup: %s\n' "$1" >&2; }

[ "$(id -u)" = 0 ] || { echo "setup: must run as root: it mounts root file systems for the servers" >&2; exit 1; }
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  mkdir -p "$cache"
  log=$cache/setup.log
  # Installing nats-server must not start a service.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  {
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  } > "$log" 2>&1 || { say "failed; the end of $log:"; tail -n 20 "$log" >&2; exit 1; }
fi

version=$(cargo --version 2> /dev/null | cut -d' ' -f2 || true)
if [ "$(printf '%s\n' 1.90.0 "${version:-0}" | sort -V | head -n 1)" != 1.90.0 ]; then
  say "Rust 1.90 or newer is needed to build, and this machine has ${version:-none}; rustup installs it"
  exit 1
fi

venv=$cache/venv-$( { python3 --version; cat requirements.txt; } | sha256sum | cut -c1-12)
if [ ! -e "$venv/.complete" ]; then
  say "making the Python environment"
  mkdir -p "$cache"
  exec 9> "$cache/venv.lock"
  flock 9
  if [ ! -e "$venv/.complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet -r requirements.txt >&2
    touch "$venv/.complete"
  fi
  flock -u 9
fi
for release in "$@"; do
  ./rootfs.sh "$release" > /dev/null
done
echo "$venv"
