#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
export HOME=/root
tree=$DIRECTORY/linux
sums=/var/tmp/kernel-build.sums

# What the build leaves behind, outside of the mount.
made() {
	find "$tree" -type f \( -name '*.[oa]' -o -name vmlinux -o -name bzImage \) | sort | xargs -d '\n' sha256sum
}

case $1 in
run)
	git clone -q --no-hardlinks --no-checkout "$SHARED/kernel.git" "$tree"
	cd "$tree"
	git checkout -q HEAD
	make -s tinyconfig
	if [ "$SHORT" = 1 ]; then
		make -j"$(nproc)" prepare
		make -j"$(nproc)" init/
	else
		make -j"$(nproc)"
		[ -s arch/x86/boot/bzImage ]
		# Nothing is left to do, so times and contents of all that was made are as make left them.
		make -j"$(nproc)" > /var/tmp/second 2>&1
		if grep -E '^  (CC|LD|AR|HOSTCC) ' /var/tmp/second; then
			echo "a second make found something to do"
			exit 1
		fi
	fi
	made > $sums
	echo "$(wc -l < $sums) objects"
	[ -s $sums ]
	;;
verify)
	made | diff -u $sums -
	;;
esac
