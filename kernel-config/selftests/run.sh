#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Boot a kernel under QEMU with nothing but the selftests, and print their KTAP.
#
# usage: run.sh BZIMAGE WORKDIR [-t NAME]... [--long] [--seed N] [--only TEST] [--one-socket]
#
#   -t NAME      only this program of the file `programs`, may be repeated
#   --long       the full figures instead of those that CI can afford
#   --seed N     of all random numbers (1)
#   --only TEST  only tests whose name contains this
#   --one-socket both CPUs in one: the scheduler moves tasks to an idle one more
#                readily there than between nodes
#
# Two NUMA nodes with a CPU and a pmem device each: the pmem is memory set
# aside on the kernel command line, which needs no preparation to have DAX.
# Exit code 0 when all passed. WORKDIR/ktap has the results, WORKDIR/console.log
# what the kernel said.
set -eu

usage() {
	sed -n 's/^# usage: /usage: /p' "$0" >&2
	exit 2
}

[ $# -ge 2 ] || usage
for program in busybox qemu-system-x86_64 cc; do
	command -v $program >/dev/null && continue
	echo "$0: $program is missing (Debian: busybox-static, qemu-system-x86, gcc)" >&2
	exit 2
done
image=$1
work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
chosen=
arguments=
long=
cpus='-smp 2,sockets=2 -numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1'
while [ $# -gt 0 ]; do
	case $1 in
	-t) grep -qx "$2" "$here/programs" || { echo "no program $2" >&2; exit 2; }
	    chosen="$chosen $2"; shift ;;
	--long) long=1; arguments="$arguments -l" ;;
	--seed) arguments="$arguments -s $2"; shift ;;
	--only) arguments="$arguments -t '$2'"; shift ;;
	--one-socket) cpus='-smp 2,sockets=1,cores=2 -numa node,nodeid=0,cpus=0,cpus=1,memdev=m0 -numa node,nodeid=1,memdev=m1' ;;
	*) usage ;;
	esac
	shift
done
[ -n "$chosen" ] || chosen=$(grep -v '^#' "$here/programs")
# Seconds for one program, and for all; what hangs is ended. A busy host makes
# everything slow, so that these are many times what is needed.
limit=${LIMIT:-${long:+3600}}
limit=${limit:-600}
total=${TIMEOUT:-${long:+10800}}
total=${total:-3000}

root=$work/initramfs
rm -rf "$root"
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/mnt" "$root/tmp"
make -s -C "$here" OUT="$work/bin"
for program in $chosen; do
	cp "$work/bin/$program" "$root/bin/"
done
cp "$(command -v busybox)" "$root/bin/busybox"
for tool in sh mount cat echo poweroff timeout sed; do
	ln -s busybox "$root/bin/$tool"
done

# A program's lines are indented below its own, as KTAP has it for subtests. They
# go to the second serial port, so that lines of the kernel do not cut into them.
cat >"$root/init" <<INIT
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmp /tmp
# Long enough for kmemleak, whose scans wait for each other.
echo 120 >/proc/sys/kernel/hung_task_timeout_secs
number=0
exec >/dev/ttyS1
echo 'KTAP version 1'
echo '1..$(echo $chosen | wc -w)'
for program in $(echo $chosen); do
	number=\$((number + 1))
	echo "selftest: \$program" >/dev/kmsg
	echo "# Subtest: \$program"
	{
		timeout -s KILL $limit \$program $arguments /dev/pmem0 /dev/pmem1 2>/dev/console
		echo \$? >/tmp/code
	} | sed 's/^/    /'
	read code </tmp/code
	[ "\$code" = 0 ] && echo "ok \$number \$program" ||
		echo "not ok \$number \$program # exit code \$code"
done
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs.gz"

: >"$work/ktap.raw"
timeout "$total" qemu-system-x86_64 \
	-machine q35 -accel tcg,thread=multi,tb-size=512 -cpu max \
	-m 2G -display none -monitor none -no-reboot \
	-serial "file:$work/console.log" -serial "file:$work/ktap.raw" \
	-object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=1G \
	$cpus \
	-kernel "$image" -initrd "$work/initramfs.gz" \
	-append "console=ttyS0 panic=-1 oops=panic norandmaps nokaslr mitigations=off loglevel=6 memmap=128M!512M memmap=128M!1280M ${APPEND:-}" \
	</dev/null || true

# What the kernel said is a result as well.
tr -d '\r' <"$work/ktap.raw" >"$work/ktap"
complaint='BUG:|WARNING:|KASAN|Oops|unreferenced object|possible (recursive|circular)|inconsistent lock|INFO: task|Kernel panic|suspicious RCU'
# Of a wait that is long: a busy host alone can bring it about. What waits for
# ever does not get to its end.
stall='soft lockup|hard LOCKUP|workqueue lockup|blocked for more than'
said=$(sed -n 's/\r$//; /selftest: /{s/.*selftest: //; h;}; /'"$(echo "$complaint" | sed 's/|/\\|/g; s/[()]/\\&/g')"'/{G; s/\(.*\)\n\(.*\)/# \2: \1/p;}' "$work/console.log")
complaints=$(echo "$said" | grep -vE "$stall" || true)
cat "$work/ktap"
echo "$said" | grep -E "$stall" || true
failed=0
grep -q '^not ok' "$work/ktap" && failed=1
# A kernel that did not get to the end.
[ "$(grep -cE '^(not )?ok ' "$work/ktap")" = "$(echo $chosen | wc -w)" ] || {
	echo "# the kernel did not get to the end, see $work/console.log"
	failed=1
}
if [ -n "$complaints" ]; then
	echo "$complaints"
	echo "# the kernel complained, see $work/console.log"
	failed=1
fi
exit $failed
