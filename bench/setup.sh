#!/usr/bin/env bash
# Installs what the benchmarks need beside what the tests need, and builds their programs. Prints the directory of the
# Python environment.
#
#   bench/setup.sh
set -euo pipefail
cd "$(dirname "$0")"

venv=$(../e2e/setup.sh "$@")
packages=(
  libnats-dev               # what ours is compared with
  libgoogle-perftools4      # radosgw's allocator, from 18.2 on
)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]}" >&2
  apt-get update > /dev/null && apt-get install -y --no-install-recommends "${missing[@]}" > /dev/null
fi
make --quiet -C programs >&2
echo "$venv"
