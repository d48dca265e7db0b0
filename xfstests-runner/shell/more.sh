# SPDX-License-Identifier: BSD-3-Clause
#
# check sources this file after common/report. Starting check takes seconds in an emulated guest, and so does its end: where tests are
# handed out a few at a time, it is given more while it runs. They are lines that are added to the file $ZUFS_LAB_MORE (generic/001),
# the last of which is a dot. check goes through an array, _list, by its index ix, and looks at its length each time; what is called
# at the end of each test can add to it.

# Tenths of a second to wait for more: whoever should give it may be gone.
zufs_lab_patience=3000
# Lines of the file that have been read.
zufs_lab_taken=0
zufs_lab_over=no

zufs_lab_more()
{
	local -a lines
	local line waited=0

	while [ $zufs_lab_over = no ] && [ $((ix + 1)) -ge ${#_list[*]} ]; do
		mapfile -t -s $zufs_lab_taken lines < "$ZUFS_LAB_MORE"
		for line in "${lines[@]}"; do
			zufs_lab_taken=$((zufs_lab_taken + 1))
			case $line in
			.)
				zufs_lab_over=yes
				;;
			*)
				_list+=("$SRC_DIR/$line")
				;;
			esac
		done
		[ ${#lines[*]} -gt 0 ] && continue
		waited=$((waited + 1))
		[ $waited -lt $zufs_lab_patience ] || zufs_lab_over=yes
		sleep 0.1
	done
}

zufs_lab_upstream=$(declare -f _make_testcase_report)
case "$zufs_lab_upstream" in
'' | *zufs_lab_more*)
	;;
*)
	eval "zufs_lab_report$zufs_lab_upstream"
	_make_testcase_report()
	{
		zufs_lab_report_make_testcase_report "$@"
		[ -z "${ZUFS_LAB_MORE:-}" ] || zufs_lab_more
	}
	;;
esac
unset zufs_lab_upstream
true
