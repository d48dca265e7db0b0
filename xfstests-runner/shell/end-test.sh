#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# end-test.sh RESULTS [all]
# Ends the test that `check` is in: everything in check's session but check itself. The test's own shell gets the chance
# to clean up; all else is killed. With `all`, check goes too. Prints `ended`, or `stuck` and what is left: processes
# that do not die even of SIGKILL.

set -u
check=$(cat "$1/check.pid" 2>/dev/null) || { echo ended; exit 0; }

members() {
	ps -e -o pid=,sid= | while read -r pid sid; do
		if [ "$sid" = "$check" ] && [ "$pid" != "$check" ]; then
			echo "$pid"
		fi
	done
}

# The shell that runs the test is a child of check whose command is the test's file.
test_shell() {
	ps -e -o pid=,ppid=,args= | while read -r pid ppid args; do
		case "$ppid $args" in
		"$check "*tests/*) echo "$pid" ;;
		esac
	done
}

wait_gone() {
	local tries
	for tries in $(seq 50); do
		kill -0 "$@" 2>/dev/null || return 0
		sleep 0.2
	done
	return 1
}

if [ "${2:-}" = all ]; then
	kill -TERM "$check" 2>/dev/null
fi

shell=$(test_shell)
for pid in $(members); do
	case " $shell " in
	*" $pid "*) ;;
	*) kill -KILL "$pid" 2>/dev/null ;;
	esac
done
if [ -n "$shell" ]; then
	kill -TERM $shell 2>/dev/null
	if ! wait_gone $shell; then
		kill -KILL $(members) 2>/dev/null
		wait_gone $shell
	fi
fi
if [ "${2:-}" = all ]; then
	wait_gone "$check" || kill -KILL "$check" $(members) 2>/dev/null
fi

left=$shell
if [ -n "$left" ] && kill -0 $left 2>/dev/null; then
	echo stuck
	ps -o pid,stat,wchan:32,args -p "$(echo $left | tr ' ' ,)"
	exit 0
fi
echo ended
