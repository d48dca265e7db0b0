#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# watch-server.sh CHECK
# When zus ends under a running check (its pid: CHECK), check is stopped where it is, so that no other test is blamed, and the
# console says so; the runner watches that. Nothing to do where no zus runs.

server=$(cat /run/zus.pid 2>/dev/null) || exit 0
kill -0 "$server" 2>/dev/null || exit 0
tail --pid="$server" -s 0.2 -f /dev/null

case "$(tr '\0' ' ' < "/proc/$1/cmdline" 2>/dev/null)" in
*check*)
	kill -STOP "$1"
	echo "zufs-lab: the server has ended" > /dev/kmsg
	;;
esac
