// SPDX-License-Identifier: BSD-3-Clause

import ssh2 from 'ssh2';

export interface SshKeyPair {
  /** In OpenSSH's own format. */
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA… comment` */
  readonly publicKey: string;
}

/** A fresh ed25519 key pair, without a passphrase: it opens one throw-away guest. */
export function makeKeyPair(comment: string): SshKeyPair {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    // ssh2 drops leading zero bytes of the public key, so that one pair of 256 is 31 bytes long and of no use to anyone:
    // https://github.com/mscdex/ssh2/issues/1390
    if (isKey(pair.private) && isKey(pair.public))
      return { privateKey: pair.private, publicKey: pair.public };
  }
}

function isKey(text: string): boolean {
  return !(ssh2.utils.parseKey(text) instanceof Error);
}

/** The base64 part of a public key line. */
export function keyBlob(publicKey: string): string {
  const blob = publicKey.trim().split(/\s+/)[1];
  if (blob === undefined) throw new TypeError(`not an SSH public key: ${publicKey}`);
  return blob;
}
