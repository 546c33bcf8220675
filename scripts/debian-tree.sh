#!/usr/bin/env bash
# Unpacks Debian packages, with all that they depend on, into a directory of the cache, and prints its path: programs and
# libraries of another suite or another processor than this machine's. Nothing is installed or configured.
#
#   scripts/debian-tree.sh [--check] NAME SUITE PROCESSOR PACKAGE...
#
# PROCESSOR is Debian's name for it, amd64 or arm64; a package of another one is written PACKAGE:PROCESSOR. The directory is
# trees/NAME-…, in RGW_NATS_CACHE, and is made anew where SUITE or a PACKAGE has changed. The mirror is the one that this
# machine's apt uses. --check makes nothing, and fails where there is no such directory yet.
set -euo pipefail

check=
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi
[ $# -ge 4 ] || { echo "usage: $0 [--check] NAME SUITE PROCESSOR PACKAGE..." >&2; exit 2; }
name=$1 suite=$2 processor=$3
shift 3
cache=${RGW_NATS_CACHE:-/var/cache/rgw_nats}
tree=$cache/trees/$name-$(printf '%s\n' 1 "$suite" "$processor" "$@" | sha256sum | cut -c1-12)
if [ -n "$check" ]; then [ -e "$tree/.complete" ]; exit; fi
say() { printf 'tree %s: %s\n' "$name" "$1" >&2; }

mkdir -p "$cache/trees"
exec 9> "$cache/trees/$name.lock"
flock 9
if [ -e "$tree/.complete" ]; then
  echo "$tree"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
[ -n "$mirror" ] || { echo "tree: apt knows no package mirror; run apt-get update" >&2; exit 1; }
work=$cache/trees/.making-$name
log=$cache/trees/$name.log
rm -rf "$work"
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/tree"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$work/apt/sources.list"
touch "$work/apt/status"
# apt with lists of its own, in which nothing is installed.
own=(-o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt" -o Debug::NoLocking=1
  -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
  -o APT::Architecture="$processor" -o APT::Install-Recommends=false -o Acquire::Retries=3 -o Acquire::Languages=none
  # A mirror's copy of a suite in the making can be older than the suite allows.
  -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
for one in amd64 arm64; do own+=(-o "APT::Architectures::=$one"); done

unpack() {
  set -e
  apt-get "${own[@]}" update
  apt-get "${own[@]}" install --yes --download-only "$@"
  for archive in "$work"/apt/archives/*.deb; do dpkg-deb --extract "$archive" "$work/tree"; done
  rm -rf "$work/tree/usr/share/doc"
}
say "unpacking $* of $suite (once; log: $log)"
# In the background, as bash takes no notice of set -e in what is part of a condition.
unpack "$@" > "$log" 2>&1 9>&- &
wait $! || { say "failed; the end of $log:"; tail -n 20 "$log" >&2; exit 1; }
touch "$work/tree/.complete"
# Earlier recipes of this name are of no use any more.
find "$cache/trees" -maxdepth 1 -name "$name-*" -exec rm -rf {} +
mv -T "$work/tree" "$tree"
rm -rf "$work"
echo "$tree"
