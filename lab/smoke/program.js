// SPDX-License-Identifier: BSD-3-Clause

// The smoke run as it runs in the guest: `node program.js PHASE DIRECTORY`. Plain JavaScript without packages. Phase `write`
// makes a tree and checks it, phase `verify` checks what must have outlived a remount. Each step is one JSON line
// {"step", "ok", "ms", "error"?}; exit code 1 after the first step that fails, since the later ones build on it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';

const [phase, directory] = process.argv.slice(2);
const at = (...names) => join(directory, ...names);

const mebibyte = 2 ** 20;
const bigSize = 64 * mebibyte;

/** Bytes that differ in every 4 KiB block and at every offset in it, so that a block in the wrong place shows. */
function pattern(seed, length) {
  const words = new Uint32Array(length / 4);
  let word = (seed * 0x9e3779b1) >>> 0 || 1;
  for (let at = 0; at < words.length; at++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    words[at] = word;
  }
  return Buffer.from(words.buffer);
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

/** Hash of the big file's content, made again rather than remembered. */
function bigHash() {
  const hash = createHash('sha256');
  for (let chunk = 0; chunk < bigSize / mebibyte; chunk++) hash.update(pattern(chunk + 1, mebibyte));
  return hash.digest('hex');
}

function hashOfFile(path) {
  const hash = createHash('sha256');
  const file = fs.openSync(path, 'r');
  const buffer = Buffer.alloc(mebibyte);
  for (let length = fs.readSync(file, buffer); length > 0; length = fs.readSync(file, buffer)) {
    hash.update(buffer.subarray(0, length));
  }
  fs.closeSync(file);
  return hash.digest('hex');
}

const entryCount = 300;
const entryName = (number) => `entry-${number}-${'x'.repeat(number % 60)}`;

const steps = {
  write: {
    'files are made, written and read back': () => {
      fs.writeFileSync(at('small'), 'zero copy\n');
      assert.equal(fs.readFileSync(at('small'), 'utf8'), 'zero copy\n');
      fs.appendFileSync(at('small'), 'twice\n');
      assert.equal(fs.readFileSync(at('small'), 'utf8'), 'zero copy\ntwice\n');
      assert.equal(fs.statSync(at('small')).size, 16);
      assert.throws(() => fs.openSync(at('small'), 'wx'), { code: 'EEXIST' });
      assert.throws(() => fs.openSync(at('missing'), 'r'), { code: 'ENOENT' });
    },
    'bytes across block boundaries are where they were put': () => {
      const file = fs.openSync(at('holes'), 'w+');
      fs.writeSync(file, 'begin', 4094);
      fs.writeSync(file, 'end', 1 * mebibyte + 4095);
      const content = fs.readFileSync(at('holes'));
      const expected = Buffer.alloc(mebibyte + 4098);
      expected.write('begin', 4094);
      expected.write('end', mebibyte + 4095);
      assert.ok(content.equals(expected), 'content differs');
      // A hole takes no blocks: 2 + 2 of 4 KiB hold what was written, and some for their map.
      assert.ok(fs.fstatSync(file).blocks * 512 < 128 * 1024, 'the hole takes space');
      fs.ftruncateSync(file, 4096);
      fs.ftruncateSync(file, 8192);
      const cut = fs.readFileSync(at('holes'));
      assert.equal(cut.length, 8192);
      assert.equal(cut.toString('latin1', 4094, 4098), 'be\0\0');
      fs.closeSync(file);
    },
    'directories nest, count their links, and refuse to go while full': () => {
      fs.mkdirSync(at('tree/a/b/c'), { recursive: true });
      fs.writeFileSync(at('tree/a/b/c/leaf'), 'leaf');
      assert.equal(fs.statSync(at('tree/a')).nlink, 3);
      assert.throws(() => fs.rmdirSync(at('tree/a/b')), { code: 'ENOTEMPTY' });
      assert.deepEqual(fs.readdirSync(at('tree/a')), ['b']);
    },
    [`a directory of ${entryCount} names lists each once`]: () => {
      fs.mkdirSync(at('many'));
      for (let number = 0; number < entryCount; number++) fs.writeFileSync(at('many', entryName(number)), '');
      for (let number = 0; number < entryCount; number += 3) fs.unlinkSync(at('many', entryName(number)));
      const expected = Array.from({ length: entryCount }, (_, number) => number)
        .filter((number) => number % 3 !== 0)
        .map(entryName);
      assert.deepEqual(fs.readdirSync(at('many')).sort(), expected.sort());
    },
    'hard links share one inode, symbolic links lead to their target': () => {
      fs.linkSync(at('small'), at('tree/hard'));
      assert.equal(fs.statSync(at('tree/hard')).ino, fs.statSync(at('small')).ino);
      assert.equal(fs.statSync(at('small')).nlink, 2);
      fs.symlinkSync('../small', at('tree/short'));
      assert.equal(fs.readFileSync(at('tree/short'), 'utf8'), 'zero copy\ntwice\n');
      const far = `${'long/'.repeat(200)}end`;
      fs.symlinkSync(far, at('tree/long'));
      assert.equal(fs.readlinkSync(at('tree/long')), far);
    },
    'renames move, replace and go between directories': () => {
      fs.mkdirSync(at('other'));
      fs.writeFileSync(at('other/target'), 'replaced');
      fs.writeFileSync(at('moving'), 'moved');
      fs.renameSync(at('moving'), at('other/target'));
      assert.equal(fs.readFileSync(at('other/target'), 'utf8'), 'moved');
      assert.throws(() => fs.statSync(at('moving')), { code: 'ENOENT' });
      fs.renameSync(at('tree/a/b'), at('other/b'));
      assert.equal(fs.readFileSync(at('other/b/c/leaf'), 'utf8'), 'leaf');
      assert.equal(fs.statSync(at('tree/a')).nlink, 2);
      assert.equal(fs.statSync(at('other')).nlink, 3);
    },
    'modes, owners and times stay': () => {
      fs.chmodSync(at('small'), 0o640);
      fs.chownSync(at('small'), 1000, 1001);
      fs.utimesSync(at('small'), 1_000_000_000, 1_234_567_890.5);
      const { mode, uid, gid, mtimeMs } = fs.statSync(at('small'));
      assert.deepEqual([mode & 0o7777, uid, gid, mtimeMs], [0o640, 1000, 1001, 1_234_567_890_500]);
    },
    '64 MiB are written, synced and read back': () => {
      const file = fs.openSync(at('big'), 'w');
      for (let chunk = 0; chunk < bigSize / mebibyte; chunk++) {
        assert.equal(fs.writeSync(file, pattern(chunk + 1, mebibyte)), mebibyte);
      }
      fs.fsyncSync(file);
      fs.closeSync(file);
      assert.equal(fs.statSync(at('big')).size, bigSize);
      assert.equal(hashOfFile(at('big')), bigHash());
    },
    'a mapping writes what reading finds, and reads what writing left': () => {
      fs.writeFileSync(at('mapped'), pattern(1000, mebibyte));
      // Over a block boundary, then read back through the mapping; xfs_io stops at nothing, so its output is checked.
      const output = execFileSync(
        'xfs_io',
        [
          '-c',
          'mmap -rw 0 1m',
          '-c',
          'mwrite -S 0x5a 4000 200',
          '-c',
          'msync -s 0 8192',
          '-c',
          'mread -v 4000 4',
          at('mapped'),
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
      );
      assert.match(output, /5a 5a 5a 5a/);
      const expected = pattern(1000, mebibyte).fill(0x5a, 4000, 4200);
      assert.equal(sha256(fs.readFileSync(at('mapped'))), sha256(expected));
      const file = fs.openSync(at('mapped'), 'r+');
      fs.writeSync(file, 'written', 8190);
      fs.closeSync(file);
      const seen = execFileSync('xfs_io', ['-c', 'mmap -r 0 1m', '-c', 'mread -v 8190 7', at('mapped')], {
        encoding: 'utf8',
      });
      assert.match(seen, /77 72 69 74 74 65 6e/);
    },
    'files that are removed give their space back': () => {
      const before = fs.statfsSync(directory);
      fs.writeFileSync(at('gone'), Buffer.alloc(8 * mebibyte, 1), { flush: true });
      const during = fs.statfsSync(directory);
      assert.ok(before.bfree - during.bfree >= (8 * mebibyte) / before.bsize, 'no space was taken');
      fs.unlinkSync(at('gone'));
      const after = fs.statfsSync(directory);
      assert.ok(Math.abs(after.bfree - before.bfree) <= 16, `${before.bfree - after.bfree} blocks are lost`);
    },
  },

  verify: {
    'small files, with mode, owner and time': () => {
      assert.equal(fs.readFileSync(at('small'), 'utf8'), 'zero copy\ntwice\n');
      const { mode, uid, gid, mtimeMs, nlink } = fs.statSync(at('small'));
      assert.deepEqual([mode & 0o7777, uid, gid, mtimeMs, nlink], [0o640, 1000, 1001, 1_234_567_890_500, 2]);
      assert.equal(fs.readFileSync(at('holes')).toString('latin1', 4094, 4098), 'be\0\0');
    },
    'the tree, with its links': () => {
      assert.deepEqual(
        fs
          .readdirSync(directory)
          .filter((name) => name !== 'lost+found')
          .sort(),
        ['big', 'holes', 'many', 'mapped', 'other', 'small', 'tree'],
      );
      assert.equal(fs.readFileSync(at('other/b/c/leaf'), 'utf8'), 'leaf');
      assert.equal(fs.statSync(at('tree/hard')).ino, fs.statSync(at('small')).ino);
      assert.equal(fs.readlinkSync(at('tree/short')), '../small');
      assert.equal(fs.readlinkSync(at('tree/long')).length, 1003);
      assert.equal(fs.readdirSync(at('many')).length, (entryCount * 2) / 3);
    },
    '64 MiB': () => {
      assert.equal(fs.statSync(at('big')).size, bigSize);
      assert.equal(hashOfFile(at('big')), bigHash());
    },
    'what went through a mapping': () => {
      const expected = pattern(1000, mebibyte).fill(0x5a, 4000, 4200);
      expected.write('written', 8190);
      assert.equal(sha256(fs.readFileSync(at('mapped'))), sha256(expected));
    },
  },
};

for (const [step, body] of Object.entries(steps[phase])) {
  const start = performance.now();
  const report = (result) => {
    fs.writeSync(1, `${JSON.stringify({ step, ms: Math.round(performance.now() - start), ...result })}\n`);
  };
  try {
    body();
    report({ ok: true });
  } catch (error) {
    report({ ok: false, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
    process.exit(1);
  }
}
