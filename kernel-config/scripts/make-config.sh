#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Configure a kernel tree from tinyconfig and fragments, and check that every
# option asked for is in the result.
#
# usage: make-config.sh SOURCE OBJECTS FRAGMENT...
#   SOURCE    the kernel tree; OBJECTS the build directory (may be the same)
#   FRAGMENT  file names of fragments, later ones win
set -eu

if [ $# -lt 3 ]; then
	echo "usage: $0 SOURCE OBJECTS FRAGMENT..." >&2
	exit 2
fi
source=$1
objects=$2
shift 2

make -s -C "$source" O="$objects" tinyconfig
(cd "$objects" &&
	"$source/scripts/kconfig/merge_config.sh" -m -O "$objects" "$objects/.config" "$@" >/dev/null)
make -s -C "$source" O="$objects" olddefconfig

# Of an option that several fragments name, the last value counts.
cat "$@" | grep '^CONFIG_' | awk -F= '{ want[$1] = $0 } END { for (name in want) print want[name] }' |
	sort | {
	missing=0
	while read -r line; do
		if ! grep -qxF "$line" "$objects/.config"; then
			echo "$line: asked for, but the result has: $(grep -w "${line%%=*}" "$objects/.config" || echo nothing)" >&2
			missing=1
		fi
	done
	exit $missing
}
