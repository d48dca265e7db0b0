#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# prepare.sh CONFIG RESULTS TEST SCRATCH
# Standard input becomes CONFIG, what an earlier run left in RESULTS goes, the two directories are made, and whatever is mounted on SCRATCH
# is unmounted, layer by layer. Prints device and type of what is mounted on TEST, if anything.

set -eu
cat > "$1"
rm -rf "$2"
mkdir -p "$3" "$4"
while findmnt -n -M "$4" > /dev/null; do
	umount "$4"
done
findmnt -n -o SOURCE,FSTYPE -M "$3" || true
