#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
[ "$1" = run ] || exit 0
mkdir -p "$DIRECTORY"
stressors=(hdd fallocate seek copy-file dentry dir getdent link rename chmod utime xattr lease flock readahead fiemap
	sync-file mmap msync mlock mremap)
each=$((TIME / ${#stressors[@]}))
[ $each -ge 1 ] || each=1
for stressor in "${stressors[@]}"; do
	more=()
	case $stressor in
	hdd) more=(--hdd-bytes 32M --hdd-opts "rd-rnd,wr-rnd,fsync") ;;
	fallocate) more=(--fallocate-bytes 32M) ;;
	seek) more=(--seek-size 16M) ;;
	copy-file) more=(--copy-file-bytes 128M) ;;
	readahead) more=(--readahead-bytes 16M) ;;
	sync-file) more=(--sync-file-bytes 16M) ;;
	mmap) more=(--mmap-file --mmap-bytes 32M) ;;
	msync) more=(--msync-bytes 32M) ;;
	esac
	status=0
	stress-ng --temp-path "$DIRECTORY" --timeout "${each}s" --verify --oomable "--$stressor" 2 "${more[@]}" > /var/tmp/stress-ng 2>&1 || status=$?
	if [ $status -ne 0 ] || grep -E 'fail:' /var/tmp/stress-ng; then
		tail -n 20 /var/tmp/stress-ng
		echo "stressor $stressor: exit status $status"
		exit 1
	fi
done
echo "${#stressors[@]} stressors, $each s each"
