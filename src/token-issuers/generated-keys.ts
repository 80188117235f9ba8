import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Log } from '../contracts/index.js';
import { describeError, hasCode } from '../errors.js';
import { writeOnce } from '../settings/write-once.js';
import { type CertifiedKey, certifyNewKey, createAuthority } from './certificate-authority.js';
import type { KeySet } from './key-set.js';
import { certificatesOf, fileNameOf, type SigningKey, signingKey } from './signing-key.js';

export interface Rotation {
  /** Milliseconds between two new keys. */
  readonly every: number;
  /** Milliseconds a key is published before it signs, and after its last signature. */
  readonly overlap: number;
}

interface Authority {
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
}

interface DatedKey {
  readonly key: SigningKey;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly file: string;
}

const lookEvery = 60_000;
/** Milliseconds between two looks that tokens with unknown keys cause: made-up ones cost nothing to send. */
const lookAgainEvery = 5_000;
/** Milliseconds after which a half-written file has no writer any more. A replica may be writing a younger one. */
const leftoverAge = 60_000;
const keyFile = /^signing-(\d{10,16})-([0-9a-f]{16})\.pem$/;
const authorityFile = 'authority.pem';
/** The one file of the directory that is meant to be handed out. */
const authorityCertificateFile = 'ca.pem';

/**
 * Keys made by ourselves in a directory: an authority that stays, and signing keys that take turns. A new key is
 * published one overlap before it signs; an old one verifies one overlap after its successor took over. Replicas may
 * share the directory.
 */
export class GeneratedKeys implements KeySet {
  readonly #directory: string;
  readonly #rotation: Rotation;
  readonly #clock: Clock;
  readonly #log: Log;
  #keys: readonly DatedKey[] = [];
  #authority: Authority | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Files that cannot be used and were told of. */
  readonly #unusable = new Set<string>();
  #lookedAgainAt = Number.NEGATIVE_INFINITY;
  #underWay: Promise<void> | undefined;

  private constructor(directory: string, rotation: Rotation, clock: Clock, log: Log) {
    this.#directory = directory;
    this.#rotation = rotation;
    this.#clock = clock;
    this.#log = log;
  }

  /** @throws an Error where there is no usable key, and none can be made */
  static async open(directory: string, rotation: Rotation, clock: Clock, log: Log): Promise<GeneratedKeys> {
    const keys = new GeneratedKeys(directory, rotation, clock, log);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await removeLeftovers(directory);
    await keys.#refresh();
    keys.#timer = setInterval(() => {
      keys.#refreshOnce().catch((error: unknown) => {
        log.error({ reason: describeError(error) }, 'token keys not rotated, the present ones stay');
      });
    }, lookEvery);
    keys.#timer.unref();
    return keys;
  }

  signing(): SigningKey {
    const now = this.#clock.now();
    const current =
      this.#keys.findLast((dated) => dated.createdAt + this.#rotation.overlap <= now) ?? this.#keys[0];
    if (current === undefined) throw new Error('there is no signing key');
    return current.key;
  }

  published(): readonly SigningKey[] {
    return this.#keys.map((dated) => dated.key);
  }

  authorities(): readonly X509Certificate[] {
    return this.#authority === undefined ? [] : [this.#authority.certificate];
  }

  async lookAgain(): Promise<void> {
    // Not counted: the looks by the clock. Another replica's key may be newer than the last of those.
    const now = this.#clock.now();
    if (Math.abs(now - this.#lookedAgainAt) < lookAgainEvery) return this.#underWay;
    this.#lookedAgainAt = now;
    await this.#refreshOnce();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#underWay?.catch(() => undefined);
  }

  #refreshOnce(): Promise<void> {
    this.#underWay ??= this.#refresh().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #refresh(): Promise<void> {
    let keys = await this.#load();
    try {
      this.#authority ??= await this.#openAuthority();
      if (this.#needsKey(keys)) {
        await this.#create(this.#authority);
        keys = await this.#load();
      }
    } catch (error) {
      // Whoever has a key that signs goes on: a directory that is full or read-only stops nobody's pulls.
      if (keys.length === 0) throw error;
      this.#log.error({ reason: describeError(error) }, 'token keys not rotated, the present ones stay');
    }
    if (keys.length === 0) throw new Error(`there is no usable token key in ${this.#directory}`);
    this.#keys = await this.#retire(keys);
  }

  #needsKey(keys: readonly DatedKey[]): boolean {
    const newest = keys.at(-1);
    if (newest === undefined) return true;
    return newest.createdAt + this.#rotation.every - this.#rotation.overlap <= this.#clock.now();
  }

  async #openAuthority(): Promise<Authority> {
    const path = join(this.#directory, authorityFile);
    let pem = await readIfThere(path);
    if (pem === undefined) {
      // Another replica may win the race: what is there then counts.
      await writeOnce(path, textOf(await createAuthority(this.#clock.now())));
      pem = await readFile(path, 'utf8');
    }
    const authority = readAuthority(path, pem);
    await this.#handOut(authority.certificate);
    return authority;
  }

  /** A copy for others: ours to sign with is in the authority's own file. */
  async #handOut(certificate: X509Certificate): Promise<void> {
    try {
      const path = join(this.#directory, authorityCertificateFile);
      if ((await readIfThere(path)) === undefined) await writeOnce(path, certificate.toString(), 0o644);
    } catch (error) {
      this.#log.warn({ reason: describeError(error) }, `no ${authorityCertificateFile} to hand out`);
    }
  }

  async #load(): Promise<readonly DatedKey[]> {
    const known = new Map(this.#keys.map((dated) => [dated.file, dated]));
    const keys: DatedKey[] = [];
    for (const file of (await readdir(this.#directory)).sort()) {
      const match = keyFile.exec(file);
      if (match === null) continue;
      const loaded = known.get(file) ?? (await this.#loadKey(file, Number(match[1])));
      if (loaded !== undefined) keys.push(loaded);
    }
    return keys.sort((a, b) => a.createdAt - b.createdAt);
  }

  async #loadKey(file: string, createdAt: number): Promise<DatedKey | undefined> {
    try {
      const pem = await readFile(join(this.#directory, file), 'utf8');
      return { key: await signingKey(createPrivateKey(pem), certificatesOf(pem)), createdAt, file };
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined; // retired by another replica just now
      this.#tellUnusable(join(this.#directory, file), error);
      return undefined;
    }
  }

  /** Once a file, not once a look. */
  #tellUnusable(path: string, error: unknown): void {
    if (this.#unusable.has(path)) return;
    this.#unusable.add(path);
    this.#log.error(
      { file: path, reason: describeError(error) },
      'cannot use the token key: it is skipped, and tokens signed with it are refused',
    );
  }

  async #create({ key, certificate }: Authority): Promise<void> {
    const now = this.#clock.now();
    const authority = { privateKey: key, certificate: certificate.toString() };
    const text = textOf(await certifyNewKey(authority, now));
    const { kid } = await signingKey(createPrivateKey(text), []);
    await writeOnce(join(this.#directory, `signing-${now}-${fileNameOf(kid)}.pem`), text);
    this.#log.info({ kid }, 'token key created');
  }

  /** Deletes what no valid token can be signed with any more. */
  async #retire(keys: readonly DatedKey[]): Promise<readonly DatedKey[]> {
    const kept: DatedKey[] = [];
    for (const [i, dated] of keys.entries()) {
      const successor = keys[i + 1];
      const last = successor === undefined ? undefined : successor.createdAt + this.#rotation.overlap;
      if (last === undefined || last + this.#rotation.overlap > this.#clock.now()) {
        kept.push(dated);
        continue;
      }
      await this.#remove(dated);
    }
    return kept;
  }

  async #remove({ file, key: { kid } }: DatedKey): Promise<void> {
    const path = join(this.#directory, file);
    try {
      await rm(path, { force: true });
      this.#log.info({ kid }, 'token key retired');
    } catch (error) {
      this.#log.warn({ kid, reason: describeError(error) }, `token key retired, but cannot delete ${path}`);
    }
  }
}

function readAuthority(path: string, pem: string): Authority {
  try {
    const [certificate] = certificatesOf(pem);
    const key = createPrivateKey(pem);
    if (certificate === undefined) throw new Error('it holds no certificate');
    if (!certificate.checkPrivateKey(key)) throw new Error('its certificate belongs to another key');
    return { key, certificate };
  } catch (error) {
    throw new Error(`cannot use the token authority ${path}`, { cause: error });
  }
}

function textOf(key: CertifiedKey): string {
  return `${key.privateKey}${key.certificate}\n`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** What a crash in mid-write left behind. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.tmp')) continue;
    const path = join(directory, name);
    // Not worth a start: another replica may have deleted it, or the directory is read-only.
    try {
      // By the machine's clock, as the stamp is.
      if (Date.now() - (await stat(path)).mtimeMs > leftoverAge) await rm(path, { force: true });
    } catch {}
  }
}
