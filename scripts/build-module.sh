#!/bin/sh
# Builds the module with this machine's cargo: one library for Lua 5.3 and 5.4.
#
#   scripts/build-module.sh [FILE [TARGET]]
#
# FILE is where it goes, build/rgw_nats.so by default. TARGET is Rust's name of another processor; scripts/build-aarch64.sh
# prepares that. Also what luarocks runs when it builds the rock from source.
set -eu
cd "$(dirname "$0")/.."
export RGW_NATS_CLONE=$PWD
out=${1:-build/rgw_nats.so}
triple=${2:-}
command -v cargo > /dev/null || {
  echo "rgw_nats: building from source takes Rust 1.90 or newer (cargo); the binary rock takes none" >&2
  exit 1
}
# luarocks sets it to what cargo's crates take by themselves, and they would be built anew for it.
if [ "${CC:-}" = gcc ]; then unset CC; fi
# A directory of its own, as the tests build the same crates with other options.
target=${CARGO_TARGET_DIR:-target}/module${triple:+-$triple}
mkdir -p "$target" "$(dirname "$out")"
# Clones may share a target directory: nobody may build between this build and the copy.
exec 9> "$target/.rgw_nats.lock"
if command -v flock > /dev/null; then flock 9; fi
CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --lib ${triple:+--target "$triple"} >&2 9>&-
# A name of its own until it is whole: a gateway may be loading the old one.
cp "$target/${triple:+$triple/}release/librgw_nats.so" "$out.new"
mv "$out.new" "$out"
