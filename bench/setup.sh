#!/usr/bin/env bash
# Installs what the benchmarks need beside what the tests need, and builds their programs. Prints the directory of the
# Python environment. As root, on Debian 12 or newer. RabbitMQ is what RGW's own AMQP endpoint sends to.
#
#   bench/setup.sh [rabbitmq]
set -euo pipefail
cd "$(dirname "$0")"

cache=${RGW_NATS_CACHE:-/var/cache/rgw_nats}
venv=$(../e2e/setup.sh)
packages=(
  valgrind                  # counts instructions
  libnats-dev               # nats.c, which ours is compared with
  libgoogle-perftools4      # radosgw's allocator, from 18.2 on
)
if [ "${1:-}" = rabbitmq ]; then packages+=(rabbitmq-server); fi
missing=()
for package in "${packages[@]}"; do
  # From Debian 13 on a library's name may end in t64.
  found=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" "${package}t64" 2> /dev/null || true)
  grep -qx installed <<< "$found" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  log=$cache/bench-setup.log
  echo "setup: installing ${missing[*]}" >&2
  # Installing a server must not start a service.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    > "$log" 2>&1 || { echo "setup: failed; the end of $log:" >&2; tail -n 20 "$log" >&2; exit 1; }
fi
make --quiet -C programs >&2
echo "$venv"
