#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
[ "$1" = run ] || exit 0
mkdir -p "$DIRECTORY"
load=$(find /usr/share/dbench -name client.txt | head -n 1)
dbench -D "$DIRECTORY" -c "$load" -t "$TIME" 4 > /var/tmp/dbench 2>&1 || { tail -n 20 /var/tmp/dbench; exit 1; }
# dbench goes on when an operation has another result than the load file says, and prints so. About its semaphore it complains always.
if grep -v 'barrier semaphore' /var/tmp/dbench | grep -E '^[[(][0-9]+[])]|ERROR|failed'; then
	exit 1
fi
grep Throughput /var/tmp/dbench
