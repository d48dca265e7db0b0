// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join, matchesGlob } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { packageRoot } from '../paths.ts';
import { changedPaths, type Patch } from './patches.ts';

const plan = z.strictObject({
  cover: z.strictObject({ subject: z.string(), body: z.string(), figures: z.string() }),
  hooks: z.array(z.string()),
  grows: z.array(z.string()),
  groups: z.array(
    z.union([
      z.strictObject({ patches: z.literal(true) }),
      z.strictObject({
        subject: z.string(),
        body: z.string(),
        files: z.array(z.string()),
        rest: z.literal(true).optional(),
      }),
    ]),
  ),
});

export type SeriesPlan = z.infer<typeof plan>;

export async function readSeriesPlan(): Promise<SeriesPlan> {
  return plan.parse(parse(await readFile(join(packageRoot, 'kernel-config', 'series.yaml'), 'utf8')));
}

/** The text of the cover letter, with the figures that a benchmark has left behind. */
export async function coverBody(seriesPlan: SeriesPlan): Promise<string> {
  const figures = await readFile(join(packageRoot, 'kernel-config', seriesPlan.cover.figures), 'utf8');
  // A mail says nothing of the licence of the file that its text comes from.
  return `${seriesPlan.cover.body}\n${figures.replace(/^# SPDX-License-Identifier: .*\n\n?/, '')}`;
}

/** One step of the series: new files under a message, or a patch with its own. */
export type SeriesStep =
  | { readonly subject: string; readonly body: string; readonly files: readonly string[] }
  | { readonly patch: Patch };

/** Our new files and patches as steps in the order of the plan; each file and each patch exactly once. */
export function arrangeSeries(
  seriesPlan: SeriesPlan,
  files: readonly string[],
  patches: readonly Patch[],
): SeriesStep[] {
  const left = new Set(files);
  const isHook = (patch: Patch) => changedPaths(patch).every((path) => seriesPlan.hooks.includes(path));
  const hooks = patches.filter(isHook);
  const steps: SeriesStep[] = [];
  const named = seriesPlan.groups.flatMap((group) => ('files' in group ? group.files : []));
  for (const group of seriesPlan.groups) {
    if ('patches' in group) {
      steps.push(...patches.filter((patch) => !hooks.includes(patch)).map((patch) => ({ patch })));
      continue;
    }
    const mine = [...left].filter(
      (file) =>
        group.files.some((glob) => matchesGlob(file, glob)) ||
        (group.rest === true && !named.some((glob) => matchesGlob(file, glob))),
    );
    for (const file of mine) left.delete(file);
    if (mine.length > 0) steps.push({ subject: group.subject, body: group.body, files: mine.sort() });
  }
  if (left.size > 0) throw new Error(`series.yaml has no place for ${[...left].join(', ')}.`);
  return [...steps, ...hooks.map((patch) => ({ patch }))];
}

/** A Makefile as it is while some of its sources are not there yet: without their objects, and lines that named nothing else. */
export function grownMakefile(text: string, isThere: (source: string) => boolean): string {
  const missing = (object: string) => object.endsWith('.o') && !isThere(object.replace(/\.o$/, '.c'));
  return text
    .split('\n')
    .filter((line) => !missing(/^CFLAGS_(\S+\.o)/.exec(line)?.[1] ?? ''))
    .map((line) => {
      const [, head, objects] = /^(zuf-y\s*\+?:?=)(.*)$/.exec(line) ?? [];
      if (head === undefined || objects === undefined) return line;
      const kept = objects.split(' ').filter((object) => !missing(object));
      return kept.some((object) => object !== '') ? head + kept.join(' ') : undefined;
    })
    .filter((line) => line !== undefined)
    .join('\n');
}
