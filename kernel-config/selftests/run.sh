#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Boot a kernel under QEMU with nothing but the selftest, and print its TAP.
#
# usage: run.sh BZIMAGE WORKDIR [zufs_test options]
#
# Two NUMA nodes with a CPU and a pmem device each: the pmem is memory set
# aside on the kernel command line, which needs no preparation to have DAX.
# Exit code 0 when all passed. The whole console is in WORKDIR/console.log.
set -eu

if [ $# -lt 2 ]; then
	echo "usage: $0 BZIMAGE WORKDIR [zufs_test options]" >&2
	exit 2
fi
image=$1
work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
root=$work/initramfs

rm -rf "$root"
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/mnt" "$root/tmp"
make -s -C "$here" OUT="$root/bin"
cp "$(command -v busybox)" "$root/bin/busybox"
for tool in sh mount dmesg cat poweroff sleep ls grep; do
	ln -s busybox "$root/bin/$tool"
done
cat >"$root/init" <<INIT
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
zufs_test $* /dev/pmem0 /dev/pmem1
echo "zufs_test exit code \$?"
[ -x /extra ] && /extra
if [ -e /sys/kernel/debug/kmemleak ]; then
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	cat /sys/kernel/debug/kmemleak
fi
poweroff -f
INIT
chmod +x "$root/init"
[ -n "${EXTRA:-}" ] && cp "$EXTRA" "$root/extra"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs.gz"

timeout "${TIMEOUT:-600}" qemu-system-x86_64 \
	-machine q35 -accel tcg,thread=multi,tb-size=512 -cpu max \
	-smp 2,sockets=2 -m 2G -nographic -no-reboot \
	-object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=1G \
	-numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1 \
	-kernel "$image" -initrd "$work/initramfs.gz" \
	-append "console=ttyS0 panic=-1 oops=panic norandmaps nokaslr mitigations=off loglevel=6 memmap=128M!512M memmap=128M!1280M hung_task_timeout_secs=60 ${APPEND:-}" \
	>"$work/console.log" 2>&1 </dev/null || true

grep -aE '^(ok|not ok|#|1\.\.|Bail)' "$work/console.log" || true
if grep -aqE 'BUG:|WARNING:|KASAN|Oops|unreferenced object|possible (recursive|circular)|INFO: task' "$work/console.log"; then
	echo "the kernel complained, see $work/console.log" >&2
	exit 1
fi
grep -aq 'zufs_test exit code 0' "$work/console.log"
