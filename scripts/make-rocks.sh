#!/usr/bin/env bash
# Makes the rocks of this version, and directories of them that luarocks takes as a server.
#
#   scripts/make-rocks.sh [DIRECTORY]
#
# DIRECTORY (dist by default) is for Lua 5.3, which is RGW's: the binary rock, the source rock, the manifests. Binary
# rocks for both Luas have the same file name, as luarocks knows systems and processors but not Luas in it, so the one
# for 5.4 has a server directory of its own, DIRECTORY/5.4. A binary rock's rockspec asks for exactly its Lua: a wrong
# one can be found and fetched, but never installed.
#
# The source rock has the files that git knows, as they are in the working tree, without those that only tests of the
# repository need. The binary rocks are built where this script is, so that what make has built already is not built
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
mkdir -p "$work/stage/dist/5.4"
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

# Makes the binary rock for one Lua in a directory.
pack() { # lua directory
  local next=5.$((${1#5.} + 1)) spec=$2/$name-$version-1.rockspec
  say "binary rock for Lua $1"
  mkdir -p "$2"
  sed "s/^dependencies = .*/dependencies = { \"lua >= $1, < $next\" }/" "$stage/$name-$version-1.rockspec" > "$spec"
  # luarocks wants to see headers of Lua, whatever is built. This build reads none, and few machines have both.
  printf '#define LUA_VERSION_NUM 50%s\n' "${1#5.}" > "$2/lua.h"
  quietly luarocks --lua-version "$1" make --pack-binary-rock "$spec" "LUA_INCDIR=$2"
  mv "$name-$version-1".linux-*.rock "$2"
}

# Makes a server directory of a Lua's rocks: binary rock and source rock.
serve() { # lua other-lua directory
  pack "$1" "$stage/pack$1"
  # Asked for the other Lua it has no binary rock, so luarocks builds the source rock. To all further ones it shows all:
  # RGW's `script-package add` runs `luarocks search --binary` without a version of Lua, and Debian's luarocks is then
  # for the oldest Lua of the machine, 5.1 mostly. `luarocks install` fails there by the rockspec's dependencies.
  cp "$source_rock" "$3"
  quietly luarocks-admin make_manifest "$3"
  mv "$3/manifest-$2" "$stage/manifest-$2"
  mv "$stage/pack$1/$name-$version-1".linux-*.rock "$3"
  quietly luarocks-admin make_manifest "$3"
  mv "$stage/manifest-$2" "$3/manifest-$2"
}

serve 5.3 5.4 "$stage/dist"
serve 5.4 5.3 "$stage/dist/5.4"

mkdir -p "$target/5.4"
for directory in . 5.4; do
  find "$target/$directory" -maxdepth 1 -type f \( -name "$name-*.rock" -o -name 'manifest*' -o -name index.html \) -delete
  find "$stage/dist/$directory" -maxdepth 1 -type f -exec mv -t "$target/$directory" {} +
done
rm -rf "$stage"
say "made: $(cd "$target" && find . -name '*.rock' -printf '%P ')in $target"
