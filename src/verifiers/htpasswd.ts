import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { verify } from '@node-rs/bcrypt';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Log, Principal, Verifier } from '../contracts/index.js';
import { widerNetwork } from '../decorators/client-network.js';
import { FairTurns } from '../decorators/fair-turns.js';
import { untilAborted } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import { ChangingFile } from '../settings/changing-file.js';
import { readableFile } from '../settings/file-path.js';

/** Under the four threads of libuv's pool, so that files and DNS never wait behind password hashes. */
const concurrentHashes = 2;
/** Of all networks; waiting logins beyond this are told to come back: each costs tens of milliseconds of CPU. */
const waitingHashes = 200;
const maxFileSize = 4 * 1024 * 1024;
/** bcrypt reads 72 bytes; far longer ones are not passwords but load. */
const maxPasswordBytes = 4096;
/** bcrypt's cost is a power of two: 2^16 is seconds a login. */
const maxCost = 15;

/**
 * Version, cost, 22 characters of salt and 31 of hash. The last character of each has bits that must be zero: where
 * they are not, bcrypt's decoder says "wrong password" to everyone, without any work.
 */
const bcryptGrammar =
  /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$/;

interface Users {
  readonly hashes: ReadonlyMap<string, string>;
  /** As costly as the costliest hash of the file: compared where there is no such user (threat 16). */
  readonly dummy: string;
  /** bcrypt costs that occur. Where they differ, the time of a refusal tells whether a user is there. */
  readonly costs: ReadonlySet<number>;
}

/**
 * Parses Apache's htpasswd format with bcrypt hashes (`htpasswd -B`).
 *
 * @throws an Error naming the line
 */
export function parseHtpasswd(text: string): Users {
  const hashes = new Map<string, string>();
  const costs = new Set<number>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const hash = line.slice(colon + 1).trim();
    if (colon < 1) throw new Error(`line ${i + 1}: expected NAME:HASH`);
    if (hashes.has(name)) throw new Error(`line ${i + 1}: the user of this line stands on an earlier one`);
    costs.add(costOf(hash, i + 1));
    hashes.set(name, hash);
  }
  return { hashes, dummy: dummyHash(Math.max(5, ...costs)), costs };
}

/** A hash that no known password has; it costs as much to compare as a real one. */
function dummyHash(cost: number): string {
  return `$2b$${String(cost).padStart(2, '0')}$${'abcdefghijklmnopqrstuu'}${'.'.repeat(31)}`;
}

function costOf(hash: string, line: number): number {
  const cost = bcryptGrammar.exec(hash)?.[1];
  if (cost === undefined)
    throw new Error(`line ${line}: expected a bcrypt hash ($2y$…), as 'htpasswd -B' writes it`);
  if (Number(cost) > maxCost) throw new Error(`line ${line}: its bcrypt cost is ${cost}, over ${maxCost}`);
  return Number(cost);
}

export class HtpasswdVerifier implements Verifier {
  readonly givesGroups = false;
  readonly #id: string;
  readonly #file: ChangingFile<Users>;
  readonly #compareHash: typeof verify;
  readonly #turns = new FairTurns({
    atOnce: concurrentHashes,
    waiting: waitingHashes,
    refusal: () =>
      new RegistryError('TOOMANYREQUESTS', {
        retryAfter: 5,
        reason: 'too many logins wait for a password hash',
      }),
  });

  /** @param compareHash bcrypt's; a test may watch it */
  constructor(id: string, file: ChangingFile<Users>, compareHash = verify) {
    this.#id = id;
    this.#file = file;
    this.#compareHash = compareHash;
  }

  async verify({ shown, connection }: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (shown.kind !== 'password') return undefined;
    const users = await this.#users();
    const hash = users.hashes.get(shown.username);
    const password = shown.password.reveal();
    const matches =
      Buffer.byteLength(password) <= maxPasswordBytes &&
      (await this.#compare(password, hash ?? users.dummy, connection.address, o));
    if (hash === undefined) return undefined;
    if (!matches) {
      const reason = 'wrong password';
      throw new RegistryError('UNAUTHORIZED', { reason, knownUser: true });
    }
    return this.#principal(shown.username, hash);
  }

  async recheck(known: Principal): Promise<Principal | undefined> {
    const users = await this.#users();
    const hash = users.hashes.get(known.name);
    return hash === undefined ? undefined : this.#principal(known.name, hash);
  }

  async close(): Promise<void> {}

  #principal(name: string, hash: string): Principal {
    const credentialVersion = createHash('sha256').update(hash).digest('base64url').slice(0, 16);
    return { verifier: this.#id, name, kind: 'human', groups: [], attributes: {}, credentialVersion };
  }

  async #users(): Promise<Users> {
    try {
      return await this.#file.read();
    } catch (error) {
      throw new RegistryError('UNAVAILABLE', { cause: error });
    }
  }

  async #compare(password: string, hash: string, address: string, o: CallOptions): Promise<boolean> {
    const comparison = this.#turns.run(widerNetwork(address), o, () => this.#compareHash(password, hash));
    // Who leaves is let go at once; a hash that was begun keeps its turn to its end.
    return untilAborted(comparison, o.signal);
  }
}

export function openUsers(path: string, log: Log): ChangingFile<Users> {
  return new ChangingFile(path, {
    parse: parseHtpasswd,
    maxSize: maxFileSize,
    onFailure: (error) =>
      log.error({ reason: describeError(error) }, 'users not reloaded, the old ones stay'),
    onChange: (users) => {
      log.info({ file: path, users: users.hashes.size }, 'users reloaded');
      warnOf(users, path, log);
    },
  });
}

function warnOf({ hashes, costs }: Users, file: string, log: Log): void {
  if (hashes.size === 0) log.warn({ file, users: 0 }, 'the users file is empty: nobody can log in');
  if (costs.size > 1) {
    log.warn(
      { file, costs: [...costs].sort((a, b) => a - b) },
      'bcrypt costs differ: how long a refusal takes tells which users there are',
    );
  }
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'htpasswd',
  config: z.strictObject({
    file: readableFile().describe(
      'Users and bcrypt hashes, as `htpasswd -B` writes them; read again when it changes',
    ),
  }),
  async open(config, { id, baseDirectory, log }) {
    const file = openUsers(resolve(baseDirectory, config.file.text), log);
    warnOf(await file.read(), file.path, log);
    return new HtpasswdVerifier(id, file);
  },
});
