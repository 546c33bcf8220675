#!/usr/bin/env bash
# Makes the rocks of this version, in directories that luarocks takes as servers.
#
#   scripts/make-rocks.sh [DIRECTORY]
#
# DIRECTORY (dist by default) has the binary rock and manifests for all Luas; the module in the rock is one library for Lua
# 5.3 and 5.4. DIRECTORY/source has the source rock, a server of its own: luarocks builds a source rock where it finds no
# binary rock for its processor, and nobody wants a gateway to run cargo when it starts.
#
# The source rock has the files that git knows, as they are in the working tree, without those that only tests of the
# repository need. The binary rock is built where this script is, so that what make has built already is not built
# again.
#
# Needs luarocks, zip, git and cargo; no headers of Lua.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-dist}
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

say "binary rock"
pack=$stage/pack
mkdir "$pack"
cp "$stage/$name-$version-1.rockspec" "$pack"
# luarocks wants to see headers of a Lua, whatever is built. This build reads none, and few machines have them.
echo '#define LUA_VERSION_NUM 503' > "$pack/lua.h"
quietly luarocks --lua-version 5.3 make --pack-binary-rock "$pack/$name-$version-1.rockspec" "LUA_INCDIR=$pack"
mv "$name-$version-1".linux-*.rock "$stage/dist"
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
