#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# leaks-left.sh
# Prints what leaked in the tests after which no scan was due any more (see leaks.sh), and which they were; nothing when nothing did.

knob=${ZUFS_LAB_KMEMLEAK:-/sys/kernel/debug/kmemleak}
unscanned=${ZUFS_LAB_STATE:-/run}/zufs-lab-unscanned

[ -s $unscanned ] || exit 0
# An object counts when two scans found nothing that points to it.
echo scan > $knob
echo scan > $knob
leaks=$(cat $knob)
echo clear > $knob
if [ -n "$leaks" ]; then
	echo "$leaks"
	echo "Tests since the scan before:" $(cat $unscanned)
fi
rm $unscanned
