#!/usr/bin/env bash
# Builds the module for aarch64 on an x86_64 machine with Debian, and installs what that takes: a C compiler for it, and in
# the cache a Rust compiler whose standard library for aarch64 Debian has (forky's; 1.2 GB).
#
#   scripts/build-aarch64.sh FILE
#   scripts/build-aarch64.sh --check    succeeds where all that is there already
#
# As root where something must be installed. RGW_NATS_CACHE is the cache, /var/cache/rgw_nats by default.
set -euo pipefail
cd "$(dirname "$0")/.."

rust=(aarch64-rust forky amd64 rustc libstd-rust-dev libstd-rust-dev:arm64)
if [ "${1:?usage: $0 FILE|--check}" = --check ]; then
  command -v aarch64-linux-gnu-gcc > /dev/null && scripts/debian-tree.sh --check "${rust[@]}"
  exit
fi
if ! command -v aarch64-linux-gnu-gcc > /dev/null; then
  packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
  echo "aarch64: installing ${packages[*]}" >&2
  log=${RGW_NATS_CACHE:-/var/cache/rgw_nats}/aarch64.log
  mkdir -p "$(dirname "$log")"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } \
    > "$log" 2>&1 || { echo "aarch64: failed; the end of $log:" >&2; tail -n 20 "$log" >&2; exit 1; }
fi
tree=$(scripts/debian-tree.sh "${rust[@]}")
# The compiler as its own loader runs it, with the libraries that it was made with.
cat > "$tree/rustc" << END
#!/bin/sh
exec "$tree/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tree/usr/lib/x86_64-linux-gnu" \\
  "$tree/usr/bin/rustc" --sysroot "$tree/usr" "\$@"
END
chmod 755 "$tree/rustc"
export RUSTC=$tree/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
exec scripts/build-module.sh "$1" aarch64-unknown-linux-gnu
