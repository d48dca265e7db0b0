# SPDX-License-Identifier: BSD-3-Clause
#
# Where the time of a run goes. Tests and check source this file after upstream's functions, and after ours: those that make, mount
# and check file systems and that read the kernel's log are put aside, and called with a look at the clock before and after. A
# line a call goes to $RESULT_BASE/time.log: kind, microseconds, the pid that was given out last (processes started: the
# difference of two), and the test. Of calls within calls only the outermost counts.

# zufs_lab_timed KIND FUNCTION...
zufs_lab_timed()
{
	local kind=$1 name upstream

	shift
	# One subshell for all: a fork takes milliseconds under emulation, and every test sources this.
	upstream=$'\n'$(declare -f "$@")
	case "$upstream" in
	*zufs_lab_clock*)
		return 0
		;;
	esac
	for name; do
		upstream=${upstream/$'\n'"$name ()"/$'\n'"zufs_lab_untimed_$name ()"}
	done
	eval "$upstream"
	for name; do
		if declare -F "zufs_lab_untimed_$name" > /dev/null; then
			eval "$name() { zufs_lab_clock $kind zufs_lab_untimed_$name \"\$@\"; }"
		fi
	done
}

# zufs_lab_clock KIND FUNCTION ARGUMENT...
zufs_lab_clock()
{
	if [ -n "${zufs_lab_inside:-}" ]; then
		shift
		"$@"
		return
	fi
	local zufs_lab_inside=yes zufs_lab_kind=$1 zufs_lab_from=${EPOCHREALTIME/[.,]/} zufs_lab_status zufs_lab_pid

	shift
	"$@"
	zufs_lab_status=$?
	read -r _ _ _ _ zufs_lab_pid < /proc/loadavg
	echo "$zufs_lab_kind $((${EPOCHREALTIME/[.,]/} - zufs_lab_from)) $zufs_lab_pid ${seqres#"$RESULT_BASE"/}" \
		>> "$RESULT_BASE/time.log"
	return $zufs_lab_status
}

zufs_lab_timed mkfs _scratch_mkfs _try_scratch_mkfs_sized _scratch_mkfs_sized _scratch_mkfs_blocksized _scratch_mkfs_geom
zufs_lab_timed fsck _check_test_fs _check_scratch_fs
zufs_lab_timed mount _mount _unmount _test_mount _test_unmount _test_cycle_mount \
	_try_scratch_mount _scratch_mount _scratch_unmount _scratch_remount _scratch_cycle_mount
zufs_lab_timed log _check_dmesg _check_kmemleak
true
