# SPDX-License-Identifier: BSD-3-Clause
#
# What xfstests has to know about zpmfs. Tests source this file after upstream's functions (the runner has common/rc,
# common/attr, common/quota and common/scsi_debug source it as their last act): where upstream decides by a list of file system
# types, the function is put aside and one of ours answers for zpmfs; every other type gets upstream's. Sourced more than once,
# since upstream's files are.

# zufs_lab_answer FUNCTION...
# Put upstream's definition of FUNCTION aside and let the one below (zpmfs_FUNCTION) answer for zpmfs.
zufs_lab_answer()
{
	local name upstream fresh=

	# One subshell for all: a fork takes milliseconds under emulation, and every test sources this.
	upstream=$'\n'$(declare -f "$@")
	for name; do
		case "$upstream" in
		# Ours still, or timing.sh's around ours: put aside as upstream's it would call itself.
		*": zufs_lab_answers_$name;"* | *"zufs_lab_untimed_$name "*)
			;;
		*$'\n'"$name ()"*)
			upstream=${upstream/$'\n'"$name ()"/$'\n'"zufs_lab_upstream_$name ()"}
			fresh="$fresh $name"
			;;
		esac
	done
	eval "$upstream"
	for name in $fresh; do
		eval "$name() {
			: zufs_lab_answers_$name
			if [ \"\$FSTYP\" = zpmfs ]; then
				zpmfs_$name \"\$@\"
			else
				zufs_lab_upstream_$name \"\$@\"
			fi
		}"
	done
}

# _try_scratch_mkfs_sized BYTES [BLOCKSIZE [OPTION...]]
# The block size is always 4096: a test that needs another one cannot run.
zpmfs__try_scratch_mkfs_sized()
{
	local bytes=$1 blocksize=${2:-4096} options=$MKFS_OPTIONS
	local room word

	shift; shift
	[ "$blocksize" = 4096 ] || _notrun "zpmfs has blocks of 4096 bytes, not $blocksize"
	_check_minimal_fs_size "$bytes"
	room=$(blockdev --getsize64 "$SCRATCH_DEV")
	if [ "$bytes" -le "$room" ]; then
		# One device is enough for a size that one device holds.
		options=-f
	else
		for word in $options; do
			case $word in
			--device=*) room=$((room + $(blockdev --getsize64 "${word#--device=}"))) ;;
			esac
		done
	fi
	[ "$bytes" -le "$room" ] || _notrun "Scratch device too small"
	MKFS_OPTIONS=$options _scratch_mkfs --size="$bytes" "$@"
}

# _scratch_mkfs_blocksized BYTES
zpmfs__scratch_mkfs_blocksized()
{
	[ "$1" = 4096 ] || _notrun "zpmfs has blocks of 4096 bytes, not $1"
	_scratch_mkfs
}

# _scratch_mkfs_geom STRIPE_BYTES WIDTH [BLOCKSIZE]
# Large files lie on boundaries of huge pages as they are; other stripes there are none.
zpmfs__scratch_mkfs_geom()
{
	[ "$1" = "$(_get_hugepagesize)" ] || _notrun "zpmfs aligns to huge pages, not to stripes of $1 bytes"
	_scratch_mkfs
}

# Names are bytes: all but `/` and NUL.
zpmfs__require_names_are_bytes()
{
	return 0
}

# SEEK_DATA and SEEK_HOLE tell where the holes are.
zpmfs__fstyp_has_non_default_seek_data_hole()
{
	return 0
}

# Times are 64-bit nanoseconds around 1970: the seconds from 1677-09-21 to 2262-04-11 that have one (s_time_min, s_time_max).
zpmfs__filesystem_timestamp_range()
{
	local type=${2:-$FSTYP}

	if [ "$type" = zpmfs ]; then
		echo "-9223372036 9223372036"
	else
		zufs_lab_upstream__filesystem_timestamp_range "$@"
	fi
}

# Every metadata operation is atomic and durable: what journaled file systems promise.
zpmfs__has_metadata_journaling()
{
	return 0
}

# _require_scsi_debug [PARAMETER]
# Tests make disks with that module, and file systems on these.
zpmfs__require_scsi_debug()
{
	_notrun "zpmfs is on memory, and a scsi_debug disk has no DAX"
}

# _mkfs_dev [OPTION...] DEVICE
# Tests make file systems in a file too, and mount it through a loop device.
zpmfs__mkfs_dev()
{
	local device=${*: -1}

	if [ ! -b "$device" ] || [[ $device == /dev/loop* ]]; then
		_notrun "zpmfs is on memory, and a loop device has no DAX"
	fi
	zufs_lab_upstream__mkfs_dev "$@"
}

# Entries of an ACL. A command to the server has at most 65535 bytes: 48 are its head, 17 the name, 4 the ACL's own head, and an
# entry takes 8.
zpmfs__acl_get_max()
{
	echo 8183
}

# Bytes of a label.
zpmfs__label_get_max()
{
	echo 32
}

# blkid OPTION... DEVICE
# libblkid knows the superblocks of the types that it was built with. For the label of a zpmfs device we read ours from where it lies
# on the device (block 1, word 80), past the block device's cache, which does not see what is stored through DAX.
blkid()
{
	local device=${*: -1} label

	if [ "$FSTYP" != zpmfs ] || [ "$1 $2" != "-s LABEL" ]; then
		command blkid "$@"
		return
	fi
	label=$(dd if="$device" iflag=direct bs=4096 skip=1 count=1 status=none | tail -c +321 | head -c 32 | tr -d '\0')
	[ -n "$label" ] || return 2
	echo "$device: LABEL=\"$label\""
}

# Users, groups and projects are counted, if the mount says so; zpmfs needs no quota format of the kernel's.
zpmfs__require_quota()
{
	[ -n "$QUOTA_PROG" ] || _notrun "Quota user tools not installed"
	_require_kernel_config CONFIG_QUOTACTL
}

# zufs_lab_quota_tool TOOL [ARGUMENT...]
# The quota tools know by a list of types which file systems keep their quotas in themselves, and look for quota files on all others. They
# are shown a table of mounts in which zpmfs is ext4, which does too and is asked by the same calls; it is there for them alone.
zufs_lab_quota_tool()
{
	if [ "$FSTYP" != zpmfs ]; then
		command "$@"
		return
	fi
	unshare --mount sh -c '
		sed "s/^\([^ ]* [^ ]*\) zpmfs /\1 ext4 /" /proc/self/mounts >"$0" &&
		mount --bind "$0" "/proc/$$/mounts" &&
		exec "$@"' /run/zufs-lab-mounts "$@"
}

quotacheck() { zufs_lab_quota_tool quotacheck "$@"; }
quotaon() { zufs_lab_quota_tool quotaon "$@"; }
quotaoff() { zufs_lab_quota_tool quotaoff "$@"; }
repquota() { zufs_lab_quota_tool repquota "$@"; }
setquota() { zufs_lab_quota_tool setquota "$@"; }

zufs_lab_answer _acl_get_max \
	_try_scratch_mkfs_sized \
	_scratch_mkfs_blocksized \
	_scratch_mkfs_geom \
	_require_names_are_bytes \
	_fstyp_has_non_default_seek_data_hole \
	_filesystem_timestamp_range \
	_label_get_max \
	_has_metadata_journaling \
	_mkfs_dev \
	_require_quota \
	_require_scsi_debug

# Upstream's files end with a success, and so does this one.
true
