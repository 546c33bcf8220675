#!/bin/sh
# What luarocks runs to build the module; see build in the rockspec.
#
#   scripts/rock-build.sh DIRECTORY
#
# DIRECTORY has Lua's headers, which tell for which Lua; they are not used to build. The module goes to build/rock.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^#define[[:blank:]]*LUA_VERSION_NUM[[:blank:]]*\([0-9]\)0\([0-9]\).*/\1.\2/p' "$1/lua.h")
# An unpacked rock has old dates. Where CARGO_TARGET_DIR is shared, cargo would take what another copy has built.
[ -e .git ] || touch src/lib.rs
exec scripts/build-module.sh "$version" build/rock/rgw_nats.so
