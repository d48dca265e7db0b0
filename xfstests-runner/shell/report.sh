# SPDX-License-Identifier: BSD-3-Clause
#
# check sources this file after common/report. It writes its whole report anew before every test, with some two hundred
# programs started for the properties alone: under emulation seconds. The lab reads the report when check has ended (of a VM that
# died nothing can be read), so only the last one is written, the one that says how long all took; and of that only the tests: the
# lab's own report knows what the properties say.

zufs_lab_upstream=$(declare -f _xunit_make_section_report)
case "$zufs_lab_upstream" in
'' | *zufs_lab_whole*)
	;;
*)
	eval "zufs_lab_whole$zufs_lab_upstream"
	_xunit_make_section_report()
	{
		[ -n "$5" ] || return 0
		__generate_report_vars() { :; }
		_xunit_add_property() { :; }
		zufs_lab_whole_xunit_make_section_report "$@"
	}
	;;
esac
unset zufs_lab_upstream
true
