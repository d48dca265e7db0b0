// SPDX-License-Identifier: BSD-3-Clause
//
// Money goes from account to account in SQLite databases on the mount: one with a write-ahead log and a mapping, one with a rollback
// journal. Every transaction leaves an entry with its number; it is acknowledged when COMMIT has returned, which with
// `synchronous = FULL` (EXTRA for the rollback journal) says that it is durable.

const { createHash } = require('node:crypto');
const { mkdirSync } = require('node:fs');
const { join } = require('node:path');
const { DatabaseSync } = require('node:sqlite');

const { DIRECTORY = '', ACKNOWLEDGED = '0' } = process.env;
const accounts = 500;
const eachStarts = 1000;

const kinds = [
  {
    file: 'wal.db',
    pragmas: ['journal_mode = WAL', 'synchronous = FULL', 'mmap_size = 67108864', 'wal_autocheckpoint = 200'],
  },
  { file: 'rollback.db', pragmas: ['journal_mode = DELETE', 'synchronous = EXTRA'] },
];

function open({ file, pragmas }) {
  const database = new DatabaseSync(join(DIRECTORY, file));
  for (const pragma of pragmas) database.exec(`PRAGMA ${pragma}`);
  return database;
}

/** Checksum over what a row of an account says. */
function sum(id, balance, filler) {
  return createHash('sha256').update(`${id} ${balance} ${filler}`).digest('hex');
}

function prepare(kind) {
  const database = open(kind);
  database.exec('CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, filler TEXT, sum TEXT)');
  database.exec(
    'CREATE TABLE entry (number INTEGER PRIMARY KEY, debtor INTEGER, creditor INTEGER, amount INTEGER)',
  );
  database.exec('CREATE INDEX entry_debtor ON entry (debtor)');
  const insert = database.prepare('INSERT INTO account VALUES (?, ?, ?, ?)');
  database.exec('BEGIN');
  for (let id = 0; id < accounts; id++) insert.run(id, eachStarts, '', sum(id, eachStarts, ''));
  database.exec('COMMIT');
  return database;
}

function transfer(database, number) {
  const read = database.prepare('SELECT balance FROM account WHERE id = ?');
  const write = database.prepare('UPDATE account SET balance = ?, filler = ?, sum = ? WHERE id = ?');
  const [debtor, creditor] = [(number * 7919) % accounts, (number * 104_729 + 1) % accounts];
  const amount = number % 100;
  database.exec('BEGIN IMMEDIATE');
  // Rows of changing length, so that pages split and overflow.
  const filler = 'x'.repeat((number * 613) % 6000);
  for (const [id, change] of [
    [debtor, -amount],
    [creditor, amount],
  ]) {
    const balance = read.get(id).balance + change;
    write.run(balance, filler, sum(id, balance, filler), id);
  }
  database.prepare('INSERT INTO entry VALUES (?, ?, ?, ?)').run(number, debtor, creditor, amount);
  database.exec('COMMIT');
}

function start() {
  mkdirSync(DIRECTORY, { recursive: true });
  const databases = kinds.map(prepare);
  process.stdout.write('running\n');
  for (let number = 1; ; number++) {
    for (const database of databases) transfer(database, number);
    process.stdout.write(`acknowledged ${number}\n`);
  }
}

/** Faults of one database after the crash, in sentences. */
function faults(kind) {
  const database = open(kind);
  const found = [];
  const one = (query) => Object.values(database.prepare(query).get())[0];
  const integrity = one('PRAGMA integrity_check');
  if (integrity !== 'ok') found.push(`integrity_check: ${integrity}`);
  const [count, total] = [one('SELECT count(*) FROM account'), one('SELECT sum(balance) FROM account')];
  if (count !== accounts) found.push(`${count} accounts, not ${accounts}`);
  if (total !== accounts * eachStarts) found.push(`${total} in all accounts, not ${accounts * eachStarts}`);
  for (const row of database.prepare('SELECT * FROM account').all())
    if (row.sum !== sum(row.id, row.balance, row.filler))
      found.push(`account ${row.id} has a wrong checksum`);
  const [entries, last] = [
    one('SELECT count(*) FROM entry'),
    one('SELECT coalesce(max(number), 0) FROM entry'),
  ];
  if (entries !== last) found.push(`${entries} entries, the last of which is number ${last}`);
  if (last < Number(ACKNOWLEDGED))
    found.push(`transaction ${ACKNOWLEDGED} was acknowledged, but ${last} is the last`);
  process.stdout.write(`${kind.file}: ${last} transactions, ${ACKNOWLEDGED} acknowledged\n`);
  // And it goes on.
  if (found.length === 0) transfer(database, last + 1);
  return found.map((fault) => `${kind.file}: ${fault}`);
}

if (process.argv[2] === 'start') start();
else {
  const found = kinds.flatMap(faults);
  process.stdout.write(found.map((fault) => `${fault}\n`).join(''));
  process.exitCode = found.length > 0 ? 1 : 0;
}
