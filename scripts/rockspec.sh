#!/usr/bin/env bash
# Makes the release's rockspec of the one in the root and the version in Cargo.toml.
#
#   scripts/rockspec.sh            writes rockspecs/rgw_nats-VERSION-1.rockspec
#   scripts/rockspec.sh --check    fails if that file is not what would be written, or if a Lua file is in no rockspec
#   scripts/rockspec.sh --print    writes to standard output
set -euo pipefail
cd "$(dirname "$0")/.."

scm=rgw_nats-scm-1.rockspec
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
file=rockspecs/rgw_nats-$version-1.rockspec

# The source rock has the archive beside its rockspec.
release() {
  sed -e '1s/.*/-- Made by scripts\/rockspec.sh; change rgw_nats-scm-1.rockspec instead./' \
    -e "s/^version = \"scm-1\"\$/version = \"$version-1\"/" \
    -e "s|^  -- Nothing is fetched: .*|  -- The source rock has it beside this file.|" \
    -e "s|^  url = \"git+file://\\.\",\$|  url = \"file://rgw_nats-$version.tar.gz\",\n  dir = \"rgw_nats-$version\",|" "$scm"
}

check() {
  local status=0 lua module
  if ! diff -u --label "$file" --label "what scripts/rockspec.sh writes" "$file" <(release) >&2; then
    echo "rockspec: $file is out of date; run scripts/rockspec.sh" >&2
    status=1
  fi
  while IFS= read -r lua; do
    module=${lua#lua/} module=${module%.lua}
    grep -qF "[\"${module//\//.}\"] = \"$lua\"," "$scm" && continue
    echo "rockspec: $lua is not installed by $scm" >&2
    status=1
  done < <(find lua -name '*.lua')
  return $status
}

case ${1:-} in
  "") mkdir -p rockspecs && release > "$file" && echo "$file" ;;
  --check) check ;;
  --print) release ;;
  *) echo "usage: $0 [--check|--print]" >&2; exit 2 ;;
esac
