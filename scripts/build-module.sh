#!/bin/sh
# Builds the module for one Lua with this machine's cargo.
#
#   scripts/build-module.sh 5.3|5.4 [FILE]
#
# FILE is where it goes, build/rgw_nats.so by default. Also what luarocks runs when it builds the rock from source.
set -eu
cd "$(dirname "$0")/.."
export RGW_NATS_CLONE=$PWD
case ${1:-} in
  5.3) feature=lua53 ;;
  5.4) feature=lua54 ;;
  *) echo "rgw_nats: this module is for Lua 5.3 and 5.4, not for '${1:-}'" >&2; exit 2 ;;
esac
out=${2:-build/rgw_nats.so}
command -v cargo > /dev/null || {
  echo "rgw_nats: building from source takes Rust 1.90 or newer (cargo); the binary rock takes none" >&2
  exit 1
}
# luarocks sets it to what cargo's crates take by themselves, and they would be built anew for it.
if [ "${CC:-}" = gcc ]; then unset CC; fi
# Each Lua has a directory of its own, as cargo gives both libraries one name, and would link anew at each change.
target=${CARGO_TARGET_DIR:-target}/lua$1
mkdir -p "$target" "$(dirname "$out")"
# Clones may share a target directory: nobody may build between this build and the copy.
exec 9> "$target/.rgw_nats.lock"
if command -v flock > /dev/null; then flock 9; fi
CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --lib --features "$feature" >&2 9>&-
# A name of its own until it is whole: a gateway may be loading the old one.
cp "$target/release/librgw_nats.so" "$out.new"
mv "$out.new" "$out"
