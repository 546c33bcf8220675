#!/bin/sh
# What luarocks runs to build the module; see build in the rockspec. The module goes to build/rock.
set -eu
cd "$(dirname "$0")/.."
# An unpacked rock has old dates. Where CARGO_TARGET_DIR is shared, cargo would take what another copy has built.
[ -e .git ] || touch src/lib.rs
# For the rocks that scripts/make-rocks.sh makes.
if [ "${RGW_NATS_PROCESSOR:-}" = aarch64 ] && [ "$(uname -m)" != aarch64 ]; then
  exec scripts/build-aarch64.sh build/rock/rgw_nats.so
fi
exec scripts/build-module.sh build/rock/rgw_nats.so
