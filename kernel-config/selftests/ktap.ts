// SPDX-License-Identifier: BSD-3-Clause

/** One line of KTAP, with what was said before it. */
export interface KtapResult {
  readonly name: string;
  readonly ok: boolean;
  /** Why it was not run, in words. */
  readonly skipped?: string;
  /** Notes come before the result that they explain. */
  readonly notes: readonly string[];
}

/** A test program of the selftests: a KTAP test with subtests. */
export interface KtapProgram extends KtapResult {
  /** What it announced to run. */
  readonly planned: number;
  readonly tests: readonly KtapResult[];
}

const resultLine = /^(ok|not ok) \d+ (.*?)(?: # (SKIP )?(.*))?$/;

/** The programs in what `run.sh` prints. Whatever does not end in a result line of its own is not among them. */
export function parseKtap(text: string): KtapProgram[] {
  const programs: KtapProgram[] = [];
  let tests: KtapResult[] = [];
  let notes: string[] = [];
  let planned = 0;
  for (const line of text.split('\n')) {
    const inner = line.startsWith('    ');
    const said = line.trim();
    const plan = /^1\.\.(\d+)$/.exec(said);
    const match = resultLine.exec(said);
    if (inner && plan) planned = Number(plan[1]);
    else if (inner && said.startsWith('# ')) notes.push(said.slice(2));
    else if (match) {
      const [, verdict, name, skip, rest] = match;
      const result = {
        name: name ?? '',
        ok: verdict === 'ok',
        notes,
        ...(skip === undefined ? {} : { skipped: rest ?? '' }),
      };
      notes = [];
      if (inner) tests.push(result);
      else {
        programs.push({ ...result, planned, tests });
        tests = [];
        planned = 0;
      }
    }
  }
  return programs;
}
