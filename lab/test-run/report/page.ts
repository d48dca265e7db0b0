// SPDX-License-Identifier: BSD-3-Clause

import { escapeHtml } from '../../escape-html.ts';
import type { Verdict } from '../verdict.ts';
import { verdictText } from './summary.ts';

/** A page that needs nothing else, headed `subject: verdict`. `body` is HTML; `style` and `script` are what it has of its own. */
export function page(
  subject: string,
  verdict: Verdict,
  { body, style = '', script }: { readonly body: string; readonly style?: string; readonly script: string },
): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(`${subject}: ${verdict}`)}</title>
<style>${commonStyle}${style}</style>
<h1 class="${verdict}">${escapeHtml(`${subject}: ${verdictText[verdict]}`)}</h1>
${body}
<script>${script}</script>
</html>
`;
}

const commonStyle = `
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; padding: .5rem .8rem; border-left: .4rem solid; }
h1.passed { border-color: #2a8f4a } h1.failed { border-color: #c8372d } h1.incomplete { border-color: #c98500 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: .85rem }
dt { opacity: .7 } dd { margin: 0; font-family: ui-monospace, monospace }
.problem { color: #c8372d; font-weight: 600 }
#filter label { margin-right: 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem; border-bottom: 1px solid #8884 }
td:nth-child(3) { text-align: right; font-variant-numeric: tabular-nums }
tr.failed td:nth-child(2), tr.crashed td:nth-child(2), tr.hung td:nth-child(2) { color: #c8372d; font-weight: 600 }
tr.notrun { opacity: .65 }
pre { max-height: 30rem; overflow: auto; background: #8881; padding: .6rem; font-size: .8rem }
`;
