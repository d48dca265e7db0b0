#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
[ "$1" = run ] || exit 0
mkdir -p "$DIRECTORY"
cd "$DIRECTORY"
"$SHARED/fsx" -q -S 0 -l 262144 --duration="$TIME" mapped > /var/tmp/fsx.mapped 2>&1 &
mapped=$!
"$SHARED/fsx" -q -S 0 -l 262144 -Z -R -W -r 4096 -w 4096 -t 4096 --duration="$TIME" direct > /var/tmp/fsx.direct 2>&1 &
direct=$!
status=0
wait $mapped || status=$?
wait $direct || status=$?
tail -n 3 /var/tmp/fsx.mapped /var/tmp/fsx.direct
exit $status
