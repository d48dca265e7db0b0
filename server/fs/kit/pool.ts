// SPDX-License-Identifier: BSD-3-Clause

/** Equal records; a free one holds the number of the next free one in its first word. Record 0 is never given out. */
export class Pool {
  readonly capacity: number;
  readonly offset: number;
  readonly #words: Uint32Array;
  readonly #head: number;
  readonly #size: number;

  /** `head` is the word where the list starts; behind it lie the first number never used and how many are taken. */
  constructor(words: Uint32Array, head: number, offset: number, size: number, capacity: number) {
    this.#words = words;
    this.#head = head;
    this.offset = offset;
    this.#size = size;
    this.capacity = capacity;
  }

  at(record: number): number {
    return this.offset + record * this.#size;
  }

  get end(): number {
    return this.at(this.capacity);
  }

  free(): number {
    return this.capacity - 1 - this.#words[this.#head + 2];
  }

  /** Number of a record, or 0 when there is none left. */
  take(): number {
    const words = this.#words;
    let record = words[this.#head];
    if (record !== 0) words[this.#head] = words[this.at(record) >>> 2];
    else {
      record = words[this.#head + 1] + 1;
      if (record >= this.capacity) return 0;
      words[this.#head + 1] = record;
    }
    words[this.#head + 2]++;
    return record;
  }

  give(record: number): void {
    this.#words[this.at(record) >>> 2] = this.#words[this.#head];
    this.#words[this.#head] = record;
    this.#words[this.#head + 2]--;
  }
}
