#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# start-check.sh CONFIG RESULTS MORE TEST...
# Runs `check` on the tests, in the order given, as the leader of a session of its own: end-test.sh finds all that a test
# started by that session. Its pid goes to RESULTS/check.pid. MORE is a file to which further tests are added while it runs
# (more.sh); empty when there will be none.

set -u
cd "$(dirname "$0")/.." || exit 2

if [ "${ZUFS_LAB_SESSION:-}" != own ]; then
	ZUFS_LAB_SESSION=own exec setsid --wait bash "$0" "$@"
fi

export HOST_OPTIONS=$1
results=$2
export ZUFS_LAB_MORE=$3
shift 3
mkdir -p "$results" || exit 2
echo $$ > "$results/check.pid"
[ -z "$ZUFS_LAB_MORE" ] || : > "$ZUFS_LAB_MORE"

# Programs of a test that dump core leave it where check looks for it.
ulimit -c unlimited
echo core > /proc/sys/kernel/core_pattern 2>/dev/null

setsid bash "${0%/*}/watch-server.sh" $$ < /dev/null > /dev/null 2>&1 &

exec ./check -R xunit-quiet --exact-order "$@"
