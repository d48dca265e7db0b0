#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
[ "$1" = run ] || exit 0
mkdir -p "$DIRECTORY"
each=$((TIME / 4))
for engine in psync libaio io_uring mmap; do
	fio --name="$engine" --directory="$DIRECTORY" --ioengine="$engine" --rw=randrw --bsrange=4k-64k --size=32M --numjobs=2 \
		--iodepth=8 --fsync=64 --verify=crc32c --verify_fatal=1 --verify_backlog=256 --time_based --runtime="${each}s" \
		--group_reporting --output-format=terse --terse-version=3 |
		awk -F ';' -v engine="$engine" '
			$1 == 3 { printf "%s: %d MiB read, %d MiB written, error %d\n", engine, $6 / 1024, $47 / 1024, $5; bad = bad || $5; count++ }
			$1 != 3 { print }
			END { exit bad || count != 1 }'
done
