#!/usr/bin/env bash
# Makes the rocks of this version, in directories that luarocks takes as servers.
#
#   scripts/make-rocks.sh [DIRECTORY [host|all]]
#
# DIRECTORY (dist by default) has the binary rocks and manifests for all Luas; the module in a rock is one library for Lua
# 5.3 and 5.4. `host` makes the rock for this machine's processor; `all` those for x86_64 and aarch64, and installs what the
# other one takes (scripts/build-aarch64.sh). By default the other one is made where that is installed already.
#
# DIRECTORY/source has the source rock, a server of its own: luarocks builds a source rock where it finds no binary rock for
# its processor, and nobody wants a gateway to run cargo when it starts.
#
# The source rock has the files that git knows, as they are in the working tree, without those that only tests of the
# repository need. The binary rocks are built where this script is, so that what make has built already is not built
# again.
#
# Needs luarocks, zip, git, cargo, readelf and python3; no headers of Lua.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-dist}
wanted=${2:-}
processors=("$(uname -m)")
name=rgw_nats
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
work=build/rocks
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
say() { printf 'rocks: %s\n' "$1" >&2; }

mkdir -p "$work"
exec 8> "$work/.lock"
flock 8
rm -rf "$work/stage"
mkdir -p "$work/stage/dist/source"
stage=$PWD/$work/stage
# The administrator's configuration of luarocks has no say in what a rock is.
touch "$stage/config.lua"
export LUAROCKS_CONFIG=$stage/config.lua LUAROCKS_SYSCONFDIR=$stage
quietly() { "$@" > "$stage/log" 2>&1 8>&- || { cat "$stage/log" >&2; say "failed: $*"; exit 1; }; }

unknown=$(git ls-files --others --exclude-standard -- src lua build.rs | tr "\n" " ")
[ -z "$unknown" ] || say "not in the source rock, as git does not know them yet (git add): $unknown"

scripts/rockspec.sh --print > "$stage/$name-$version-1.rockspec"
git ls-files -z -- . ':!e2e' ':!spec' ':!benches' ':!fuzz' ':!rockspecs' ':!.github' \
  | while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done \
  | tar --create --null --files-from=- --transform="s|^|$name-$version/|" \
    --sort=name --owner=0 --group=0 --numeric-owner | gzip -n > "$stage/$name-$version.tar.gz"
source_rock=$stage/$name-$version-1.src.rock
quietly zip -qjX "$source_rock" "$stage/$name-$version-1.rockspec" "$stage/$name-$version.tar.gz"

if [ "${processors[*]}" != x86_64 ]; then
  [ "$wanted" != all ] || { say "the rock for another processor than this machine's can be made on x86_64 alone"; exit 1; }
elif [ "$wanted" = all ] || { [ -z "$wanted" ] && scripts/build-aarch64.sh --check; }; then
  processors+=(aarch64)
elif [ -z "$wanted" ]; then
  say "for x86_64, this machine's processor; make rock ARCH=all makes the one for aarch64, too"
fi
pack=$stage/pack
mkdir "$pack"
cp "$stage/$name-$version-1.rockspec" "$pack"
# luarocks wants to see headers of a Lua, whatever is built. This build reads none, and few machines have them.
echo '#define LUA_VERSION_NUM 503' > "$pack/lua.h"
for processor in "${processors[@]}"; do
  say "binary rock for $processor"
  echo "arch = \"linux-$processor\"" > "$stage/config.lua"
  RGW_NATS_PROCESSOR=$processor \
    quietly luarocks --lua-version 5.3 make --pack-binary-rock "$pack/$name-$version-1.rockspec" "LUA_INCDIR=$pack"
  quietly python3 scripts/check_library.py build/rock/rgw_nats.so
  mv "$name-$version-1.linux-$processor.rock" "$stage/dist"
done
cp "$source_rock" "$stage/dist/source"
# A manifest lists each rock for each version of Lua: RGW's `script-package add` runs `luarocks search --binary` without a
# version, and Debian's luarocks is then for the oldest Lua of the machine, 5.1 mostly. `luarocks install` for a Lua that
# the module is not made for fails by the rockspec's dependencies.
for server in "$stage/dist" "$stage/dist/source"; do quietly luarocks-admin make_manifest "$server"; done

mkdir -p "$target/source"
# 5.4 was a server directory of earlier versions.
rm -rf "$target/5.4"
for directory in . source; do
  find "$target/$directory" -maxdepth 1 -type f \( -name "$name-*.rock" -o -name 'manifest*' -o -name index.html \) -delete
  find "$stage/dist/$directory" -maxdepth 1 -type f -exec mv -t "$target/$directory" {} +
done
rm -rf "$stage"
say "made: $(cd "$target" && find . -name '*.rock' -printf '%P ')in $target"
