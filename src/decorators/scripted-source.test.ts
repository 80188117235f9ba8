import { setMaxListeners } from 'node:events';
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { CallOptions, Credential, CredentialSource, CredentialTarget } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { basicCredential, FakeClock, FakeLog, FakeMetrics } from '../testing/index.js';
import { RefreshedCredentials } from './refreshed-credentials.js';

// What the tests of refreshed credentials share.

export const o: CallOptions = { signal: new AbortController().signal };
setMaxListeners(0, o.signal);
export const registry = parseRegistryHost('registry.example.com');
export const target = { registry, name: parseRepositoryName('team/app') };
export const other = { registry, name: parseRepositoryName('team/other') };
const labels = { upstream: 'hub', credential: '1' };

/** Seconds, in milliseconds. */
export const s = 1000;

/** Answers as the test says, who is told the count of questions so far. */
export class ScriptedSource implements CredentialSource {
  readonly asked: (Credential | undefined)[] = [];
  /** Of the last question. */
  isAwaited: (() => boolean) | undefined;
  answer: (count: number, signal: AbortSignal) => Promise<Credential | undefined> | Credential | undefined;
  keyFor?: (target: CredentialTarget) => string;
  closed = false;

  constructor(answer: ScriptedSource['answer']) {
    this.answer = answer;
  }

  async credentialFor(
    _target: CredentialTarget,
    {
      signal,
      rejected,
      isAwaited,
    }: CallOptions & { readonly rejected?: Credential; readonly isAwaited?: () => boolean },
  ): Promise<Credential | undefined> {
    this.isAwaited = isAwaited;
    const count = this.asked.push(rejected);
    await undefined; // nobody answers in the same breath
    return this.answer(count, signal);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

export function setUp(t: TestContext, answer: ScriptedSource['answer']) {
  const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
  const source = new ScriptedSource(answer);
  const credentials = new RefreshedCredentials(source, {
    ...{ clock, log, metrics },
    ...{ upstream: 'hub', credential: 1 },
  });
  t.after(() => credentials.close());
  const get = (wanted: CredentialTarget = target) => credentials.credentialFor(wanted, o);
  return {
    ...{ clock, log, metrics, source, credentials, get },
    replace: (rejected: Credential, wanted: CredentialTarget = target) =>
      credentials.credentialFor(wanted, { ...o, rejected }),
    /** Of the pinned one; undefined where there is no value. */
    shown: (name: 'usable' | 'age_seconds' | 'expiry_seconds') =>
      metrics.observed(`upstream_credential_${name}`, labels)[0],
    fetches: (result: string) => metrics.value('upstream_credential_fetches_total', { ...labels, result }),
    /** So that all that is due now is done. */
    settle: async () => {
      for (let i = 0; i < 5; i++) await setImmediate();
    },
  };
}

export type SetUp = ReturnType<typeof setUp>;

/** Credentials that live so long, numbered by the question. */
export function living(clock: () => FakeClock, life: number, refreshAfter?: number) {
  return (count: number): Credential => ({
    ...basicCredential('robot', `secret-${count}`, clock().now() + life),
    ...(refreshAfter !== undefined && { refreshAt: clock().now() + refreshAfter }),
  });
}

export function textOf(credential: Credential | undefined): string | undefined {
  return credential?.kind === 'basic' ? credential.password.reveal() : undefined;
}

export function held(t: TestContext, life: number, refreshAfter?: number): SetUp {
  const set: SetUp = setUp(t, (count) => living(() => set.clock, life, refreshAfter)(count));
  return set;
}

/** A promise that the test settles. */
export function later<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

export const down = () => new RegistryError('UNAVAILABLE', { reason: 'sts.example.com answers 500' });
