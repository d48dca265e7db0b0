// SPDX-License-Identifier: BSD-3-Clause

import { MountError } from '../filesystem.ts';
import { EINVAL } from './errno.ts';

/** Options that mean something to others and are taken without a word. */
const ACCEPTED_OPTIONS = new Set(['acl', 'user_xattr', 'dax', 'dax=always']);

/** The options of quotas, by type: those that count and enforce, and those that only count. The first of each is what is shown. */
const QUOTA_OPTIONS: readonly {
  readonly enforced: readonly string[];
  readonly counted: readonly string[];
}[] = [
  { enforced: ['usrquota', 'uquota', 'quota'], counted: ['uqnoenforce', 'qnoenforce'] },
  { enforced: ['grpquota', 'gquota'], counted: ['gqnoenforce'] },
  { enforced: ['prjquota', 'pquota'], counted: ['pqnoenforce'] },
];

export interface MountOptions {
  /** Those that are no option of quotas, as they were given. */
  readonly others: readonly string[];
  /** A bit for each type of quota: counted, and of these, enforced. */
  readonly counted: number;
  readonly enforced: number;
}

/** Read mount options as XFS and the VFS know them; of those of one kind the last one counts. Throws `MountError`. */
export function parseOptions(text: string): MountOptions {
  const others: string[] = [];
  let counted = 0;
  let enforced = 0;
  for (const option of text.split(',').filter((each) => each !== '')) {
    const type = QUOTA_OPTIONS.findIndex(
      (kind) => kind.enforced.includes(option) || kind.counted.includes(option),
    );
    if (option === 'noquota') {
      counted = 0;
      enforced = 0;
    } else if (type >= 0) {
      counted |= 1 << type;
      enforced &= ~(1 << type);
      if (QUOTA_OPTIONS[type].enforced.includes(option)) enforced |= 1 << type;
    } else if (ACCEPTED_OPTIONS.has(option)) {
      others.push(option);
    } else {
      throw new MountError(EINVAL, `zpmfs: unknown mount option "${option}"`);
    }
  }
  return { others, counted, enforced };
}

/** As /proc/mounts has them. */
export function showOptions({ others, counted, enforced }: MountOptions): string {
  const quotas = QUOTA_OPTIONS.flatMap((kind, type) => {
    if (((counted >>> type) & 1) === 0) return [];
    return ((enforced >>> type) & 1) !== 0 ? kind.enforced[0] : kind.counted[0];
  });
  return [...others, ...quotas].join(',');
}
