#!/usr/bin/env bash
# Installs the rock for Lua 5.3 and for 5.4 and runs the specs on what was installed, with a real nats-server.
#
#   scripts/run-specs.sh [-d DIRECTORY] [-l 5.3|5.4] [-p aarch64] [SPEC ...] [OPTION OF BUSTED ...]
#
# DIRECTORY (dist by default) is a rocks server; scripts/make-rocks.sh makes it. Without SPECs, such as
# spec/03-publish_spec.lua, all are run. Each has a process of its own: the library keeps its connections as long as the
# process lives, and takes 64 at most.
#
# Needs luarocks, lua5.3, lua5.4, lua-busted, lua-socket, lua-dkjson, nats-server and openssl. Exits with a status other
# than 0 if a spec fails. What the module logs goes to build/specs/lua5.x.log.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=dist
luas=(5.3 5.4)
processor=
emulator=() root=
specs=() options=()
while [ $# != 0 ]; do
  case $1 in
    -d) dist=$2; shift ;;
    -l) luas=("$2"); shift ;;
    -p) processor=$2; shift ;;
    *_spec.lua) specs+=("$1") ;;
    *) options+=("$1") ;;
  esac
  shift
done
[ ${#specs[@]} != 0 ] || specs=(spec/*_spec.lua)
dist=$(realpath -m "$dist")

work=$(mktemp -d /tmp/rgw_nats-specs.XXXXXX)
# Ends the servers that are left when busted itself breaks off, each by the pid in its file.
cleanup() {
  local file pid
  for file in "$work"/servers/*/nats.pid; do
    pid=$(cat "$file" 2> /dev/null) || continue
    if [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = nats-server ]; then kill -KILL "$pid"; fi
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/servers" build/specs
# The administrator's configuration of luarocks has no say in what is installed.
echo "${processor:+arch = \"linux-$processor\"}" > "$work/luarocks.lua"
export LUAROCKS_CONFIG=$work/luarocks.lua RGW_NATS_SPEC_DIR=$work/servers
if [ "$processor" = aarch64 ]; then
  command -v qemu-aarch64 > /dev/null || { echo "specs: no qemu-aarch64; run make aarch64" >&2; exit 1; }
  # Files are looked for in this directory first, and then in this machine's.
  root=$(scripts/debian-tree.sh aarch64-lua bookworm arm64 lua5.3 lua5.4 lua-busted lua-socket lua-dkjson)
  emulator=(qemu-aarch64 -L "$root")
fi

# The interpreter's own places without those of the working directory, after the installed rock and before the specs.
places() { # lua path|cpath own...
  local lua=$1 which=$2 default
  shift 2
  default=$("${emulator[@]}" "$root/usr/bin/lua$lua" -E -e "io.write((package.$which:gsub('%./[^;]*;?', '')))")
  printf '%s;' "$@" "${default%;}"
}

# Installs the rock for a Lua and runs all specs on it.
run() { # lua
  local lua=$1 tree=$work/tree$1 version=${1/./_} log=build/specs/lua$1${processor:+-$processor}.log failed=0 path cpath spec
  [ -e "$dist/manifest-$lua" ] || { echo "specs: no rocks for Lua $lua in $dist; run make rock" >&2; return 1; }
  luarocks --lua-version "$lua" install --tree "$tree" --only-server "$dist" rgw_nats > "$work/log" 2>&1 \
    || { cat "$work/log" >&2; return 1; }
  path=$(places "$lua" path "$tree/share/lua/$lua/?.lua" "$PWD/spec/?.lua")
  cpath=$(places "$lua" cpath "$tree/lib/lua/$lua/?.so")
  : > "$log"
  for spec in "${specs[@]}"; do
    echo "specs: Lua $lua${processor:+ for $processor}, $spec"
    env -u LUA_PATH -u LUA_CPATH -u LUA_INIT "LUA_PATH_$version=$path" "LUA_CPATH_$version=$cpath" \
      "RGW_NATS_TREE=$tree" "RGW_NATS_LUA=${emulator[*]} $root/usr/bin/lua$lua" \
      "${emulator[@]}" "$root/usr/bin/lua$lua" /usr/bin/busted "${options[@]}" "$spec" 2>> "$log" && continue
    echo
    echo "specs: $spec failed with Lua $lua; what was logged is in $log" >&2
    failed=1
  done
  return $failed
}

status=0
for lua in "${luas[@]}"; do
  run "$lua" || status=1
done
exit $status
