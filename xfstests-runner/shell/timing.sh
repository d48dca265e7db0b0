# SPDX-License-Identifier: BSD-3-Clause
#
# Where the time of a run goes. Tests and check source this file after upstream's functions, and after ours: those that make, mount
# and check file systems and that read the kernel's log are put aside, and called with a look at the clock before and after. A
# line a call goes to $RESULT_BASE/time.log: kind, microseconds, the pid that was given out last (processes started: the
# difference of two), and the test. Of calls within calls only the outermost counts.

zufs_lab_timed()
{
	local kind=$1 name=$2 upstream

	upstream=$(declare -f "$name") || return 0
	case "$upstream" in
	*zufs_lab_clock*)
		return 0
		;;
	esac
	eval "zufs_lab_untimed_$upstream"
	eval "$name() { zufs_lab_clock $kind zufs_lab_untimed_$name \"\$@\"; }"
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

for zufs_lab_name in _scratch_mkfs _try_scratch_mkfs_sized _scratch_mkfs_sized _scratch_mkfs_blocksized _scratch_mkfs_geom; do
	zufs_lab_timed mkfs $zufs_lab_name
done
for zufs_lab_name in _check_test_fs _check_scratch_fs _check_filesystems; do
	zufs_lab_timed fsck $zufs_lab_name
done
for zufs_lab_name in _mount _unmount _test_mount _test_unmount _test_cycle_mount \
	_try_scratch_mount _scratch_mount _scratch_unmount _scratch_remount _scratch_cycle_mount; do
	zufs_lab_timed mount $zufs_lab_name
done
zufs_lab_timed log _check_dmesg
zufs_lab_timed log _check_kmemleak
unset zufs_lab_name
true
