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
  const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync('ed25519', { comment });
  return { privateKey, publicKey };
}

/** The base64 part of a public key line. */
export function keyBlob(publicKey: string): string {
  const blob = publicKey.trim().split(/\s+/)[1];
  if (blob === undefined) throw new TypeError(`not an SSH public key: ${publicKey}`);
  return blob;
}
