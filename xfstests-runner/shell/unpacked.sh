#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# unpacked.sh KEY FILE
# After FILE, the bundle KEY, was unpacked here: prints what a program of it lacks, if anything. Else FILE goes, and the tree is marked as
# whole: last, so that an interrupted unpacking is not taken for one.

set -u
cd "$(dirname "$0")/.." || exit 2
if ldd ltp/fsstress ltp/fsx src/dbtest src/vfs/vfstest 2>&1 | grep -m 1 'not found'; then
	exit 0
fi
rm -f "$2" && echo "$1" > .bundle
