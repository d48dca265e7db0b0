# SPDX-License-Identifier: BSD-3-Clause
#
# check sources this file after common/rc. Upstream has kmemleak scan all of memory twice after every test, which takes an emulated
# guest half a minute, most of a small test's time. Here a scan follows when nine times as long has passed as the last one
# took. What a test leaked is found by the next scan, and laid at the door of the test before it, as upstream does with what it
# finds late; its report names those that ran since the scan before. leaks-left.sh looks once more at the end.

# What outlives a run of check, but not the guest: tests since the last scan, and the time (of /proc/uptime) of the next.
zufs_lab_unscanned=${ZUFS_LAB_STATE:-/run}/zufs-lab-unscanned
zufs_lab_next_scan=${ZUFS_LAB_STATE:-/run}/zufs-lab-next-scan

# Seconds since the guest booted.
zufs_lab_uptime()
{
	local uptime

	read -r uptime _ < /proc/uptime
	echo "${uptime%.*}"
}

# zufs_lab_scan FUNCTION...: one of upstream's that scans, and when the next is due
zufs_lab_scan()
{
	local from to status

	from=$(zufs_lab_uptime)
	"$@"
	status=$?
	to=$(zufs_lab_uptime)
	echo $((to + 9 * (to - from))) > $zufs_lab_next_scan
	return $status
}

zufs_lab_upstream=$(declare -f _detect_kmemleak _check_kmemleak)
case "$zufs_lab_upstream" in
'' | *zufs_lab_each*)
	;;
*)
	zufs_lab_upstream=${zufs_lab_upstream/_detect_kmemleak/zufs_lab_each_detect_kmemleak}
	eval "${zufs_lab_upstream/_check_kmemleak/zufs_lab_each_check_kmemleak}"

	# What was there before the first test is dismissed; what is there before another run of check, that of the last is to answer for.
	_detect_kmemleak()
	{
		if [ -e $zufs_lab_next_scan ]; then
			KMEMLEAK_CHECK_FILE=$zufs_lab_next_scan
			return 0
		fi
		zufs_lab_scan zufs_lab_each_detect_kmemleak
		if [ ! -f "$KMEMLEAK_CHECK_FILE" ]; then
			rm $zufs_lab_next_scan
		fi
	}

	_check_kmemleak()
	{
		local next since

		[ -f "$KMEMLEAK_CHECK_FILE" ] || return 0
		echo "$seqnum" >> $zufs_lab_unscanned
		read -r next < $zufs_lab_next_scan
		if [ "$(zufs_lab_uptime)" -lt "$next" ]; then
			return 0
		fi
		since=$(cat $zufs_lab_unscanned)
		rm $zufs_lab_unscanned
		zufs_lab_scan zufs_lab_each_check_kmemleak && return 0
		echo "Tests since the scan before:" $since >> "$seqres.kmemleak"
		return 1
	}
	;;
esac
unset zufs_lab_upstream
true
