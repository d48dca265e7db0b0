// SPDX-License-Identifier: BSD-3-Clause

/** fsck.zpmfs: check a zpmfs that is not mounted. Exit codes as fsck(8). */

import { parseArgs } from 'node:util';
import { type CheckResult, checkFileSystem, type Problem } from '../fs/zpmfs/check.ts';
import { repairFileSystem } from '../fs/zpmfs/repair.ts';
import { runTool } from './arguments.ts';
import { openFileSystem, ToolError } from './block-devices.ts';
import { print } from './output.ts';

const CLEAN = 0;
const ERRORS_MENDED = 1;
const ERRORS_LEFT = 4;
const OPERATIONAL_ERROR = 8;
const USAGE_ERROR = 16;
/** Problems printed one by one; a broken tree may have millions. */
const PRINTED_MAX = 100;

const USAGE = `usage: fsck.zpmfs [options] DEVICE...

  -n                  only look, change nothing; what happens without -a, -p or -y too
  -a, -p, -y          mend what can be mended
  -q, --quiet         print problems only
  -h, --help          this text
`;

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      'no-changes': { type: 'boolean', short: 'n' },
      yes: { type: 'boolean', short: 'y' },
      automatic: { type: 'boolean', short: 'a' },
      preen: { type: 'boolean', short: 'p' },
      force: { type: 'boolean', short: 'f' },
      quiet: { type: 'boolean', short: 'q' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

/** Returns the exit code. */
export function main(argv: readonly string[]): number {
  return runTool('fsck.zpmfs', () => {
    let parsed: ReturnType<typeof parse>;
    try {
      parsed = parse(argv);
    } catch (error) {
      throw new ToolError(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`, USAGE_ERROR);
    }
    const { values, positionals } = parsed;
    if (values.help) {
      print(USAGE);
      return CLEAN;
    }
    if (positionals.length === 0) throw new ToolError(`no device given\n${USAGE}`, USAGE_ERROR);
    const mend = values.yes ?? values.automatic ?? values.preen ?? false;
    if (mend && values['no-changes']) throw new ToolError('-n goes with none of -a, -p, -y', USAGE_ERROR);
    return mend ? repair(positionals, values.quiet ?? false) : check(positionals, values.quiet ?? false);
  });
}

function printProblems(problems: readonly Problem[], suffix: string): void {
  for (const problem of problems.slice(0, PRINTED_MAX)) print(`${problem.what}${suffix}\n`);
  if (problems.length > PRINTED_MAX) {
    print(`and ${problems.length - PRINTED_MAX} more problems${suffix}\n`);
  }
}

function summarize(file: string, result: CheckResult): void {
  for (const note of result.notes) print(`note: ${note}\n`);
  const { directories, files: regular, others, usedBlocks } = result.counts;
  const total = result.superblock?.totalBlocks ?? 0;
  const verdict = result.problems.length === 0 ? 'clean' : `${result.problems.length} problems`;
  print(
    `${file}: ${verdict}, ${directories} directories, ${regular} files, ${others} others, ${usedBlocks}/${total} blocks\n`,
  );
}

function check(files: readonly string[], quiet: boolean): number {
  using devices = openFileSystem(files, false, OPERATIONAL_ERROR);
  const result = checkFileSystem(devices);
  printProblems(result.problems, '');
  if (!quiet) summarize(files[0], result);
  return result.problems.length === 0 ? CLEAN : ERRORS_LEFT;
}

function repair(files: readonly string[], quiet: boolean): number {
  using devices = openFileSystem(files, true, OPERATIONAL_ERROR);
  const { result, mended } = repairFileSystem(devices);
  printProblems(mended, ': mended');
  printProblems(result.problems, '');
  if (!quiet) summarize(files[0], result);
  if (result.problems.length > 0) return ERRORS_LEFT;
  return mended.length > 0 ? ERRORS_MENDED : CLEAN;
}
