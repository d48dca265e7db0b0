# SPDX-License-Identifier: BSD-3-Clause
#
# check sources this file after common/rc. When a test that ran leaves the guest's root disk full, the next ones would fail
# for want of room for their own output: check stops itself, and the console says so; the runner watches that.

# Blocks of 4096 bytes that check and a test need for what they write.
zufs_lab_least_blocks=4096

zufs_lab_upstream=$(declare -f _check_dmesg)
case "$zufs_lab_upstream" in
'' | *zufs_lab_room*)
	;;
*)
	eval "zufs_lab_room$zufs_lab_upstream"
	_check_dmesg()
	{
		if [ "$(stat -f -c %a .)" -lt $zufs_lab_least_blocks ]; then
			echo "zufs-lab: the guest's root disk is full" > /dev/kmsg
			kill -STOP $$
		fi
		zufs_lab_room_check_dmesg "$@"
	}
	;;
esac
unset zufs_lab_upstream
true
