#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# pack-results.sh RESULTS FILE [TEST]
# Packs what check wrote to RESULTS into FILE, a gzipped tar: everything, or the files of one test.

set -eu -o pipefail
cd "$1"
pattern='./*'
[ $# -lt 3 ] || pattern="./$3.*"
find . -type f -path "$pattern" -print0 | tar --null --no-recursion -T - -czf "$2"
