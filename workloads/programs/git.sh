#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
export HOME=/root
tree=$DIRECTORY/linux

# Every file against the hash in its commit: the index is made anew, so that git has to read them all.
compare() {
	git -C "$tree" rm -r -q --cached .
	git -C "$tree" reset -q
	[ -z "$(git -C "$tree" status --porcelain --untracked-files=all)" ] || {
		git -C "$tree" status --porcelain --untracked-files=all | head
		echo "files differ from the commit"
		exit 1
	}
}

case $1 in
run)
	if [ "$SHORT" = 1 ]; then
		git clone --no-progress --no-hardlinks --sparse "$SHARED/kernel.git" "$tree"
		git -C "$tree" sparse-checkout set kernel lib
	else
		git clone --no-progress --no-hardlinks "$SHARED/kernel.git" "$tree"
		files=$(find "$tree" -path "$tree/.git" -prune -o -type f -print | wc -l)
		echo "$files files"
		[ "$files" -ge 20000 ] || { echo "fewer than 20,000 files"; exit 1; }
		compare
	fi
	git -C "$tree" fsck --no-progress --full --strict
	[ -z "$(git -C "$tree" status --porcelain)" ]
	;;
verify)
	git -C "$tree" fsck --no-progress --full --strict
	[ "$SHORT" = 1 ] || compare
	[ -z "$(git -C "$tree" status --porcelain)" ]
	;;
esac
