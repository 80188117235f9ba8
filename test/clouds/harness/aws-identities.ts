import { randomBytes } from 'node:crypto';
import { checkPresigned, checkSignature, type Refusal, type SigningKeys } from './sigv4.js';
import type { Exchange } from './world.js';

/** Access keys, and whose they are. */
export interface AwsKeys extends SigningKeys {
  readonly accessKeyId: string;
  /** Of a user or of a role's session. */
  readonly arn: string;
}

/** Whom AWS knows: every fake service checks signatures against it. */
export class AwsIdentities {
  readonly #keys = new Map<string, AwsKeys>();
  /** The roles one may take on, by ARN, and who may: ARNs, a service account's `sub`, an external id. */
  readonly roles = new Map<string, { trusts: string; externalId?: string }>();
  /** What an ARN must not do: `ecr:GetAuthorizationToken`. */
  readonly forbidden = new Set<string>();
  /** Milliseconds that AWS's clock is ahead of ours. */
  skew = 0;
  /** Everything secret that was handed out: no output may hold one. */
  readonly secrets: string[] = [];

  now(): number {
    return Date.now() + this.skew;
  }

  /** Keys of a user; they do not end. */
  user(name: string): AwsKeys {
    return this.keysOf(`arn:aws:iam::${owner}:user/${name}`);
  }

  /** Keys that do not end. @param arn of anybody: the root user, a user of another account */
  keysOf(arn: string): AwsKeys {
    return this.#add({ accessKeyId: keyId('AKIA'), secretAccessKey: secret(), arn });
  }

  /** Keys of a role's session. @param lifetime milliseconds */
  session(arn: string, lifetime = 3_600_000): Required<AwsKeys> {
    const keys = {
      accessKeyId: keyId('ASIA'),
      secretAccessKey: secret(),
      sessionToken: `session-${randomBytes(60).toString('base64')}`,
      expiresAt: this.now() + lifetime,
      arn,
    };
    this.#add(keys);
    return keys;
  }

  /** Keys that AWS does not know any more. */
  revoke(keys: AwsKeys): void {
    this.#keys.delete(keys.accessKeyId);
  }

  /** Who signed a request. */
  verify(
    exchange: Exchange,
    body: string,
    scope: { readonly service: string; readonly region: string },
  ): { readonly keys: AwsKeys } | { readonly refused: Refusal } {
    const { record, url } = exchange;
    return checkSignature(
      { method: record.method, url, headers: record.headers, body },
      { ...scope, keys: (id) => this.#keys.get(id), now: this.now() },
    );
  }

  /** Who presigned a request. */
  verifyPresigned(
    { record, url }: Exchange,
    scope: { readonly service: string; readonly region: string },
  ): { readonly keys: AwsKeys } | { readonly refused: Refusal } {
    return checkPresigned(
      { method: record.method, url, headers: record.headers, body: '' },
      { ...scope, keys: (id) => this.#keys.get(id), now: this.now() },
    );
  }

  #add(keys: AwsKeys): AwsKeys {
    this.#keys.set(keys.accessKeyId, keys);
    this.secrets.push(keys.secretAccessKey, ...(keys.sessionToken === undefined ? [] : [keys.sessionToken]));
    return keys;
  }
}

/** The account whose identities these are. */
export const owner = '123456789012';

function keyId(prefix: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  return `${prefix}${[...randomBytes(16)].map((byte) => alphabet[byte % 32]).join('')}`;
}

function secret(): string {
  return randomBytes(30).toString('base64');
}
