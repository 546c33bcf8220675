#!/usr/bin/env bash
# Runs one container with podman and runc, and leaves nothing of it behind, whatever ends it. As root.
#
#   e2e/harness/container.sh NAME ARGUMENT...
#
# The ARGUMENTs are those of `podman run`. podman, its storage, its state and the container are in namespaces that this
# script makes: the kernel ends all of them when this process ends. Control groups alone are in no namespace and are
# removed at the end. TERM ends the container at once; this script has the exit status of the container.
set -uo pipefail

group=rgw_nats-$1
shift
inside='
  set -e
  mount -t tmpfs -o mode=755 run /run
  mount -t tmpfs -o mode=1777 shm /dev/shm
  exec podman --root /run/storage --runroot /run/state --events-backend none --cgroup-manager cgroupfs --runtime runc \
    run --cgroup-parent "/$0" --log-driver none "$@"
'
all=
trap '[ -z "$all" ] || kill -KILL "$all" 2> /dev/null' TERM
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc bash -c "$inside" "$group" "$@" &
all=$!
wait "$all"
status=$?
# A signal ends a wait before what it waits for has ended.
while kill -0 "$all" 2> /dev/null; do
  wait "$all"
  status=$?
done
for _ in $(seq 50); do
  [ -n "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$group" -print -quit)" ] || break
  find /sys/fs/cgroup -depth -type d -path "/sys/fs/cgroup/*$group*" -exec rmdir {} + 2> /dev/null && break
  # The kernel has not reaped all processes of the group yet.
  sleep 0.1
done
exit "$status"
