#!/usr/bin/env bash
# Builds Lua 5.4 under the name of liblua5.3.so.0, or finds it in the cache, and prints the library's path.
#
#   e2e/lua54.sh
#
# Debian's radosgw is linked to liblua5.3.so.0; with this library in its place it runs scripts on Lua 5.4, as the
# radosgw of EL packages and of the official images does. The source is Debian bookworm's package lua5.4: 5.4.4, which
# EL9 has. radosgw keeps what it was compiled with: its paths and its call of luarocks say 5.3. The cache is that of
# rootfs.sh; an entry is named after this script, so that a change here builds it anew. The mirror is the one that this
# machine's apt uses; the machine's own list of sources stays as it is.
set -euo pipefail

cache=${RGW_NATS_CACHE:-/var/cache/rgw_nats}
directory=$cache/lua54-$(sha256sum < "$0" | cut -c1-12)
library=$directory/liblua5.3.so.0

mkdir -p "$cache"
exec 9> "$cache/lua54.lock"
flock 9
if [ -e "$library" ]; then
  echo "$library"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
[ -n "$mirror" ] || { echo "lua54: apt knows no package mirror; run apt-get update" >&2; exit 1; }
work=$cache/.making-lua54
log=$cache/lua54.log
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial"
build() {
  set -e
  cd "$work"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" > sources.list
  local apt=(
    apt-get -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o Acquire::Retries=3
  )
  "${apt[@]}" update
  "${apt[@]}" source lua5.4
  # radosgw needs lua_newuserdata, which 5.4 has as a macro alone. The binding with one @ is a hidden version: a
  # reference with that version, as radosgw's, finds the function; dlsym does not. The version before LUA_5.3 is there
  # because the dynamic linker gives a library's first version to references without a version, such as a module's,
  # even if it is hidden.
  echo 'BEFORE { }; LUA_5.3 { global: lua_*; luaL_*; luaopen_*; local: *; } BEFORE;' > versions.map
  cat > newuserdata.c << 'C'
#include <stddef.h>
void *lua_newuserdatauv(void *, size_t, int);
void *with_one_value(void *state, size_t size) { return lua_newuserdatauv(state, size, 1); }
__asm__(".symver with_one_value, lua_newuserdata@LUA_5.3");
C
  local sources
  mapfile -t sources < <(ls lua5.4-*/src/l*.c | grep -v '/luac\?\.c$')
  gcc -std=gnu99 -O2 -fPIC -shared -DLUA_USE_LINUX -DLUA_COMPAT_5_3 -Wl,-soname,liblua5.3.so.0 \
    -Wl,--version-script=versions.map -o liblua5.3.so.0 newuserdata.c "${sources[@]}" -lm -ldl
}
# In the background, as bash takes no notice of set -e in what is part of a condition.
build > "$log" 2>&1 9>&- &
wait $! || { echo "lua54: failed; the end of $log:" >&2; tail -n 20 "$log" >&2; exit 1; }
# Earlier recipes are of no use any more.
rm -rf "$cache"/lua54-*/
mkdir "$directory"
mv "$work/liblua5.3.so.0" "$library"
rm -rf "$work"
echo "$library"
