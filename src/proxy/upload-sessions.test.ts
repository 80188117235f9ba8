import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, test } from 'node:test';
import { RegistryError } from '../errors.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { FakeClock } from '../testing/fake-clock.js';
import { type UploadPlace, UploadSessions } from './upload-sessions.js';

const day = 24 * 3_600_000;
const url = new URL('https://registry.example.com/v2/inside/app/blobs/uploads/1?_state=a%2Bb&x');
const place = placeOf('docker.test', 'app', 'one', 'inside/app');

function placeOf(service: string, canonical: string, upstreamId: string, upstreamName: string): UploadPlace {
  const destination = {
    canonical: parseRepositoryName(canonical),
    upstreamId,
    upstreamName: parseRepositoryName(upstreamName),
  };
  return { service, destination };
}

/** Keys that a test rotates. */
class Keys {
  keys = [randomBytes(32)];
  readonly purposes = new Set<string>();

  derivedKeys(purpose: string): readonly Uint8Array[] {
    this.purposes.add(purpose);
    return this.keys;
  }
}

describe('UploadSessions', () => {
  let clock: FakeClock;
  let keys: Keys;
  let sessions: UploadSessions;
  let sealed: string;

  beforeEach(() => {
    clock = new FakeClock();
    keys = new Keys();
    sessions = new UploadSessions(keys, clock);
    sealed = sessions.seal(url, place);
  });

  function assertUnknown(text: string, at: UploadPlace = place, what = text): void {
    assert.throws(
      () => sessions.open(text, at),
      (error) => error instanceof RegistryError && error.code === 'BLOB_UPLOAD_UNKNOWN',
      what,
    );
  }

  test('what was sealed is opened, byte for byte', () => {
    assert.equal(sessions.open(sealed, place).href, url.href);
    const long = new URL(`https://registry.example.com/u?_state=${'x'.repeat(4_000)}`);
    assert.equal(sessions.open(sessions.seal(long, place), place).href, long.href);
    assert.deepEqual([...keys.purposes], ['upload sessions 1']);
  });

  test('it is a component of a path, and says nothing', () => {
    assert.match(sealed, /^[A-Za-z0-9_-]+$/);
    const bytes = Buffer.from(sealed, 'base64url').toString('latin1');
    for (const inside of ['registry', 'example', 'uploads', '_state', 'until']) {
      assert.ok(!bytes.includes(inside), `it shows ${inside}`);
    }
    assert.notEqual(sessions.seal(url, place), sealed, 'two seals of the same are the same');
  });

  test('with one bit changed, at any place', () => {
    const bytes = Buffer.from(sealed, 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const edited = Buffer.from(bytes);
      edited[at] = (edited[at] ?? 0) ^ 1;
      assertUnknown(edited.toString('base64url'), place, `byte ${at}`);
    }
  });

  test('with another character, at any place', () => {
    for (let at = 0; at < sealed.length; at++) {
      const other = sealed[at] === 'A' ? 'B' : 'A';
      assertUnknown(sealed.slice(0, at) + other + sealed.slice(at + 1), place, `character ${at}`);
    }
  });

  test('truncated anywhere, or with more behind it', () => {
    for (let length = 0; length < sealed.length; length++) {
      assertUnknown(sealed.slice(0, length), place, `${length} characters`);
      if (length > 0) assertUnknown(sealed.slice(-length), place, `the last ${length} characters`);
    }
    for (const more of ['A', 'AAAA', '=', ' ', '%00']) assertUnknown(sealed + more);
  });

  for (const [what, other] of [
    ['on another host', placeOf('other.test', 'app', 'one', 'inside/app')],
    ['for another repository', placeOf('docker.test', 'app2', 'one', 'inside/app')],
    ['at another upstream', placeOf('docker.test', 'app', 'two', 'inside/app')],
    ['for another repository of the upstream', placeOf('docker.test', 'app', 'one', 'other/app')],
  ] as const) {
    test(`${what}: unknown`, () => {
      assertUnknown(sealed, other);
      assert.equal(sessions.open(sealed, place).href, url.href);
    });
  }

  test('names that run into each other are still two places', () => {
    const text = sessions.seal(url, placeOf('docker.test', 'a', 'one', 'one/b'));
    assertUnknown(text, placeOf('docker.test', 'a/one', 'one', 'b'));
  });

  test('sealed by a proxy with other keys', () => {
    assertUnknown(new UploadSessions(new Keys(), clock).seal(url, place));
  });

  test('after a rotation the earlier key still opens, and the new one seals', () => {
    const [earlier] = keys.keys;
    keys.keys = [randomBytes(32), ...keys.keys];
    assert.equal(sessions.open(sealed, place).href, url.href);
    const newer = sessions.seal(url, place);
    keys.keys = keys.keys.slice(0, 1);
    assert.equal(sessions.open(newer, place).href, url.href);
    assertUnknown(sealed);
    keys.keys = earlier === undefined ? [] : [earlier];
    assertUnknown(newer);
  });

  test('without a key nothing is sealed and nothing opens', () => {
    keys.keys = [];
    assert.throws(() => sessions.seal(url, place), /no key/);
    assertUnknown(sealed);
  });

  test('it lives for a day, to the millisecond', () => {
    clock.advance(day - 1);
    assert.equal(sessions.open(sealed, place).href, url.href);
    clock.advance(1);
    assertUnknown(sealed);
  });

  test('another text for the same bytes is not the seal', () => {
    // The last character of a text of 4n + 2 or 4n + 3 has bits that no byte uses.
    let text = sealed;
    let target = url;
    while (text.length % 4 === 0) {
      target = new URL(`${target.href}x`);
      text = sessions.seal(target, place);
    }
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(text.at(-1) ?? '');
    const twin = text.slice(0, -1) + alphabet[last + 1];
    assert.deepEqual(Buffer.from(twin, 'base64url'), Buffer.from(text, 'base64url'), 'the same bytes');
    assertUnknown(twin);
    const standard = Buffer.from(text, 'base64url').toString('base64');
    if (standard !== text) assertUnknown(standard);
    assertUnknown(`${text.slice(0, 8)}\n${text.slice(8)}`);
  });

  for (const text of ['', 'A', '.', '..', 'session', 'é', '\0', 'A'.repeat(38), 'A'.repeat(8_192)]) {
    test(`${JSON.stringify(text.slice(0, 40))} (${text.length}) is none`, () => {
      assertUnknown(text);
    });
  }

  test('one that is too long is not even looked at', () => {
    keys.purposes.clear();
    assertUnknown('A'.repeat(8_196), place, 'too long');
    assert.equal(keys.purposes.size, 0);
  });

  test('a URL that could not come back is the upstream’s failure, at once', () => {
    const long = new URL(`https://registry.example.com/u?_state=${'x'.repeat(8_000)}`);
    assert.throws(() => sessions.seal(long, place), { code: 'UNAVAILABLE' });
  });
});
