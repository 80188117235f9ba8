import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { type Answer, basic, bearer, type Front, htpasswd, startFront } from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');
const blob = image.blobs[0] ?? assert.fail();

/** Characters that are escaped differently in JSON, in URLs, in YAML and in headers. */
function secret(name: string): string {
  return `${name}-${randomBytes(9).toString('base64')}+/="&%ü`;
}

/** A password as it may turn up. */
function formsOf(text: string, username?: string): readonly string[] {
  const pair = username === undefined ? [] : [Buffer.from(`${username}:${text}`).toString('base64')];
  return [
    text,
    encodeURIComponent(text),
    new URLSearchParams({ x: text }).toString().slice(2),
    JSON.stringify(text).slice(1, -1),
    ...pair,
  ];
}

describe('threat 3: whole requests and credentials in the log', () => {
  test('no secret of a whole scenario is in the log, in a metric or in an answer', async (t) => {
    const passwords = { alice: secret('alice'), upstream: secret('upstream'), rotated: secret('rotated') };
    const identityToken = `identity-${randomBytes(12).toString('hex')}`;
    const registryToken = `registry-${randomBytes(12).toString('hex')}`;
    const user = { username: 'robot', password: passwords.upstream };
    const registries = {
      basic: await startMemoryRegistry({
        auth: { kind: 'basic', ...user },
        storage: { redirect: 'absolute' },
      }),
      token: await startMemoryRegistry({
        auth: { kind: 'token', ...user },
        storage: { redirect: 'relative' },
      }),
      identity: await startMemoryRegistry({ auth: { kind: 'token', identityToken } }),
      direct: await startMemoryRegistry({ auth: { kind: 'token', registryToken } }),
    };
    for (const registry of Object.values(registries)) {
      t.after(() => registry.close());
      registry.putImage('app', '1', image);
    }
    const robot = 'credentials: { type: static, username: robot, password: { file: upstream-password } }';
    const front = await startFront(
      t,
      `
log: { level: debug }
upstreams:
  basic: { url: "${registries.basic.url}", ${robot} }
  handed: { url: "${registries.basic.url}", blobs: redirect, ${robot} }
  token: { url: "${registries.token.url}", ${robot} }
  identity: { url: "${registries.identity.url}", credentials: { type: static, identityToken: { file: identity-token } } }
  direct: { url: "${registries.direct.url}", credentials: { type: static, registryToken: { file: registry-token } } }
routes:
  - { prefix: "basic/", upstream: basic }
  - { prefix: "handed/", upstream: handed }
  - { prefix: "token/", upstream: token }
  - { prefix: "identity/", upstream: identity }
  - { prefix: "direct/", upstream: direct }
token: { keys: { directory: keys }, refreshTokens: true }
state: { type: file, path: state }
`,
      {
        files: {
          'users.htpasswd': await htpasswd({ alice: passwords.alice }),
          'upstream-password': passwords.upstream,
          'identity-token': identityToken,
          'registry-token': registryToken,
        },
      },
    );
    const seen = new Scenario(front, passwords.alice);
    const places = ['basic', 'handed', 'token', 'identity', 'direct'];

    await seen.logIn();
    await seen.pullAll(places);
    await seen.break();
    for (const registry of Object.values(registries)) registry.revokeTokens();
    await seen.pullAll(places);
    for (const effect of [
      { answer: { status: 500 } },
      { answer: { status: 401 } },
      { answer: { status: 200, body: '{' } },
      { reset: true },
      { cutAfter: 5 },
    ]) {
      for (const registry of Object.values(registries)) registry.faults.add({}, effect);
      await seen.pullAll(places);
      for (const registry of Object.values(registries)) registry.faults.clear();
    }
    registries.token.faults.add(
      { server: 'token' },
      { answer: { status: 200, body: `{"token": "${passwords.upstream}` } },
    );
    registries.token.revokeTokens();
    await seen.pullAll(places);
    for (const registry of [registries.basic, registries.token])
      registry.setCredentials('robot', passwords.rotated);
    await seen.pullAll(places);
    await front.stop();

    const sent = Object.values(registries).flatMap((registry) => registry.requests);
    const upstreamTokens = sent.flatMap(
      ({ headers }) => (headers.authorization ?? '').replace(/^(Basic|Bearer) /, '') || [],
    );
    const signatures = sent.flatMap(({ path }) => /X-Amz-Signature=([0-9a-f]+)/.exec(path)?.[1] ?? []);
    assert.ok(new Set(upstreamTokens).size >= 4, 'the scenario used credentials of every kind');
    assert.ok(
      signatures.length > 0 && seen.locations.length > 0 && seen.refreshTokens.length > 0,
      'signatures.length > 0 && seen.locations.length > 0 && seen.refreshTokens.length > 0',
    );

    const ours = [
      ...formsOf(passwords.alice, 'alice'),
      ...formsOf(passwords.upstream, 'robot'),
      ...formsOf(passwords.rotated, 'robot'),
      ...formsOf(seen.wrongPassword, 'alice'),
      identityToken,
      registryToken,
      ...upstreamTokens,
      ...signatures,
    ];
    const log = front.log();
    assert.ok(
      log.includes('"event":"access"') && log.includes('"event":"token"') && log.includes('"level":"error"'),
    );
    assertAbsent('the log', log, [...ours, ...seen.accessTokens, ...seen.refreshTokens, ...seen.locations]);
    assertAbsent('the log', log, ['authorization', 'BEGIN PRIVATE KEY', 'eyJ']);
    assertAbsent('the metrics', await front.metrics(), [
      ...ours,
      ...seen.accessTokens,
      ...seen.refreshTokens,
    ]);
    for (const { path, answer } of seen.answers) {
      const text = `${answer.rawHeaders.join('\n')}\n${answer.text}`;
      // Who asked for a token or a storage address gets that, and nothing else.
      const handedOut = answer.status === 307 ? signatures : [];
      assertAbsent(
        path,
        text,
        ours.filter((one) => !handedOut.includes(one)),
      );
    }
  });
});

function assertAbsent(where: string, text: string, secrets: readonly string[]): void {
  for (const one of secrets) {
    const at = text.indexOf(one);
    if (at >= 0)
      assert.fail(`${where} holds ${one}: …${text.slice(Math.max(0, at - 300), at + one.length + 50)}…`);
  }
}

/** What a client of the scenario does, and what it was answered. */
class Scenario {
  readonly answers: { readonly path: string; readonly answer: Answer }[] = [];
  readonly accessTokens: string[] = [];
  readonly refreshTokens: string[] = [];
  readonly locations: string[] = [];
  readonly wrongPassword = secret('wrong');
  readonly #front: Front;
  readonly #password: string;

  constructor(front: Front, password: string) {
    this.#front = front;
    this.#password = password;
  }

  async logIn(): Promise<void> {
    const right = { authorization: basic('alice', this.#password) };
    await this.#ask('/v2/', right);
    await this.#ask('/token?service=docker.test&offline_token=true', right);
    await this.#ask('/token?scope=repository:basic/app:pull', right);
    await this.#post({
      grant_type: 'password',
      username: 'alice',
      password: this.#password,
      access_type: 'offline',
      scope: 'repository:token/app:pull,push',
    });
    await this.#post({
      grant_type: 'refresh_token',
      refresh_token: this.refreshTokens[0] ?? '',
      scope: 'repository:token/app:pull',
    });
  }

  /** Everything that goes wrong on the client's side. */
  async break(): Promise<void> {
    const wrong = basic('alice', this.wrongPassword);
    for (const path of ['/v2/', '/token', '/v2/basic/app/manifests/1'])
      await this.#ask(path, { authorization: wrong });
    await this.#post({ username: 'alice', password: this.wrongPassword });
    await this.#post({ grant_type: 'refresh_token', refresh_token: `${this.refreshTokens[0]}x` });
    await this.#post({ grant_type: 'odd', username: 'alice', password: this.#password });
    await this.#post({ username: this.#password, password: 'alice' }); // the fields swapped: it happens
    await this.#ask('/v2/', { authorization: bearer(`${this.accessTokens[0]}x`) });
    await this.#ask('/token', { authorization: bearer(this.accessTokens[0] ?? '') });
    await this.#ask('/v2/basic/app/manifests/1', {
      authorization: `Odd ${this.#password.replace(/[^\x21-\x7e]/g, '')}`,
    });
    await this.#ask('/v2/nowhere/app/manifests/1', { authorization: basic('alice', this.#password) });
    await this.#ask(`/v2/basic/app/manifests/1?password=${encodeURIComponent(this.#password)}`, {});
  }

  async pullAll(places: readonly string[]): Promise<void> {
    const right = { authorization: basic('alice', this.#password) };
    for (const place of places) {
      for (const what of [
        'manifests/1',
        'manifests/2',
        `blobs/${blob.digest}`,
        'tags/list',
        `referrers/${image.root.digest}`,
      ]) {
        await this.#ask(`/v2/${place}/app/${what}`, right);
      }
      await this.#ask(`/v2/${place}/app/blobs/${blob.digest}`, {
        authorization: bearer(this.accessTokens[1] ?? ''),
      });
      await this.#ask(`/v2/${place}/app/blobs/${blob.digest}`, right, 'HEAD');
    }
  }

  #post(fields: Readonly<Record<string, string>>): Promise<void> {
    return this.#record(
      '/token',
      this.#front.send('/token', { method: 'POST', body: new URLSearchParams(fields).toString() }),
    );
  }

  #ask(path: string, headers: Readonly<Record<string, string>>, method = 'GET'): Promise<void> {
    return this.#record(path, this.#front.send(path, { headers, method }));
  }

  async #record(path: string, asked: Promise<Answer>): Promise<void> {
    const answer = await asked.catch(() => undefined);
    if (answer === undefined) return; // cut before it began
    this.answers.push({ path, answer });
    if (answer.headers.location !== undefined) this.locations.push(answer.headers.location);
    if (!path.startsWith('/token') || answer.status !== 200) return;
    const { token, refresh_token } = JSON.parse(answer.text) as { token: string; refresh_token?: string };
    this.accessTokens.push(token);
    if (refresh_token !== undefined) this.refreshTokens.push(refresh_token);
  }
}
