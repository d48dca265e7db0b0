// SPDX-License-Identifier: BSD-3-Clause

import prettyMilliseconds from 'pretty-ms';

/** Below this a fraction says too little to reckon with. */
const usefulFraction = 0.05;

/**
 * Milliseconds that a step will still take, undefined when that is anyone's guess. How far it is now counts for more than how
 * long it took last time, the more the further it is.
 */
export function remainingMs(at: {
  readonly elapsedMs: number;
  readonly expectedMs: number | undefined;
  readonly fraction: number | undefined;
}): number | undefined {
  const fromLastTime = at.expectedMs === undefined ? undefined : at.expectedMs - at.elapsedMs;
  if (at.fraction === undefined || at.fraction < usefulFraction) {
    return fromLastTime !== undefined && fromLastTime > 0 ? fromLastTime : undefined;
  }
  const fromPace = (at.elapsedMs * (1 - at.fraction)) / at.fraction;
  if (fromLastTime === undefined || fromLastTime <= 0) return fromPace;
  return at.fraction * fromPace + (1 - at.fraction) * fromLastTime;
}

/** `340ms`, `12.3s`, `3m 2s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return prettyMilliseconds(Math.round(milliseconds));
  return prettyMilliseconds(
    milliseconds,
    milliseconds < 60_000 ? {} : { secondsDecimalDigits: 0, unitCount: 2 },
  );
}

/** The same for what still goes on, where tenths would only flicker: `12s`. */
export function formatRunning(milliseconds: number): string {
  return formatDuration(Math.floor(milliseconds / 1000) * 1000).replace(/^0ms$/, '0s');
}
