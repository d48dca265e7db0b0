#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# measure-exec.sh
# Prints the microseconds that starting one small program takes here, of twenty, after one that warms up.

/bin/true
from=${EPOCHREALTIME/[.,]/}
for _ in {1..20}; do
	/bin/true
done
echo $(((${EPOCHREALTIME/[.,]/} - from) / 20))
