#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
set -eu -o pipefail
data=$DIRECTORY/data
socket=/var/tmp/postgresql
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
cd /var/tmp
export PGHOST=$socket PGUSER=postgres PGDATABASE=postgres

as_postgres() {
	runuser -u postgres -- env PATH="$PATH" "$@"
}

start_server() {
	mkdir -p $socket
	chown postgres $socket
	as_postgres pg_ctl -D "$data" -w -t 300 -l $socket/log -o "-c unix_socket_directories=$socket -c listen_addresses=" start > /dev/null || {
		tail -n 20 $socket/log
		exit 1
	}
}

query() {
	psql -X -q -A -t -c "$1"
}

case $1 in
start)
	mkdir -p "$DIRECTORY"
	chown postgres "$DIRECTORY"
	as_postgres initdb -D "$data" --data-checksums -A trust > /dev/null
	# Small, so that buffers go to files and checkpoints come often.
	cat >> "$data/postgresql.conf" <<-END
		shared_buffers = 8MB
		max_wal_size = 32MB
		checkpoint_timeout = 30s
		autovacuum_naptime = 10s
	END
	start_server
	query 'CREATE EXTENSION amcheck'
	pgbench -i -q -s 1 > /dev/null 2>&1
	pgbench -c 4 -T 100000 > $socket/pgbench 2>&1 &
	echo running
	# Another session sees a transaction once its log is flushed.
	while sleep 0.5; do
		echo "acknowledged $(query 'SELECT count(*) FROM pgbench_history')"
	done
	;;
check)
	start_server
	grep -E 'redo (starts|done)|automatic recovery|was interrupted' $socket/log || true
	count=$(query 'SELECT count(*) FROM pgbench_history')
	echo "$count transactions, $ACKNOWLEDGED acknowledged"
	[ "$count" -ge "$ACKNOWLEDGED" ] || { echo "transactions are missing"; exit 1; }
	sums=$(query 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
		AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')
	[ "$sums" = t ] || { echo "the sums of pgbench do not agree"; exit 1; }
	query "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p'" > /dev/null
	faults=$(query "SELECT count(*) FROM pg_class c, LATERAL verify_heapam(c.oid) WHERE c.relkind = 'r' AND c.relname LIKE 'pgbench%'")
	[ "$faults" = 0 ] || { echo "$faults faults in tables"; exit 1; }
	# And it goes on.
	pgbench -c 2 -t 20 > /dev/null
	as_postgres pg_ctl -D "$data" -w -m fast stop > /dev/null
	as_postgres pg_checksums --check -D "$data" | grep -E 'Blocks scanned|Bad checksums'
	;;
esac
