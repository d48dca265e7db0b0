#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# collect-state.sh
# Prints what a hang is understood from: all processes, the kernel's stacks of those that wait, the kernel's log with
# every task in it.

# The log is read below; the slow serial line need not carry it as well.
read -r level _ < /proc/sys/kernel/printk
dmesg --console-level 1
echo '== processes'
ps -e -o pid,ppid,sid,stat,wchan:32,args
echo '== stacks of waiting processes'
for dir in /proc/[0-9]*; do
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "$dir/status" 2>/dev/null)
	if [ "$state" = D ]; then
		echo "$dir $(cat "$dir/comm" 2>/dev/null)"
		cat "$dir/stack" 2>/dev/null
	fi
done
echo '== kernel log'
echo t > /proc/sysrq-trigger
echo w > /proc/sysrq-trigger
dmesg
dmesg --console-level "$level"
if [ -s /var/log/zus.log ]; then
	echo '== server log'
	tail -n 300 /var/log/zus.log
	echo '== core dumps'
	ls -l /var/crash /root/core* 2>/dev/null
fi
