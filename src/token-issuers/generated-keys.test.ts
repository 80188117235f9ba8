import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Principal, TokenIssuer } from '../contracts/index.js';
import { describeError } from '../errors.js';
import type { Secret } from '../secret.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { GeneratedKeys } from './generated-keys.js';
import { driver } from './jwt.js';

const day = 86_400_000;
const rotation = { every: 90 * day, overlap: 7 * day };
const o = { signal: new AbortController().signal, service: 'docker.example.com' };
const alice: Principal = { verifier: 'corp', name: 'alice', kind: 'human', groups: [], attributes: {} };

function temporary(t: TestContext): string {
  const base = mkdtempSync(join(tmpdir(), 'generated-keys-'));
  t.after(() => rmSync(base, { recursive: true }));
  return join(base, 'keys');
}

async function open(t: TestContext, directory: string, clock: FakeClock, log = new FakeLog()) {
  const keys = await GeneratedKeys.open(directory, rotation, clock, log);
  t.after(() => keys.close());
  return keys;
}

async function openIssuer(t: TestContext, directory: string, clock: FakeClock): Promise<TokenIssuer> {
  const issuer = await driver.open(driver.config.parse({ keys: { directory } }), {
    id: 'token',
    baseDirectory: '/',
    clock,
    log: new FakeLog(),
    metrics: new FakeMetrics(),
    issuer: 'https://docker.example.com',
  });
  t.after(() => issuer.close());
  return issuer;
}

const kids = (keys: GeneratedKeys) => keys.published().map((key) => key.kid);
const issue = async (issuer: TokenIssuer): Promise<Secret> => (await issuer.issue(alice, [], o)).token;
const signingFiles = (directory: string) =>
  readdirSync(directory).filter((name) => name.startsWith('signing-'));

/** Root may write anywhere: it works as nobody then. */
async function whileUnwritable(directory: string, work: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) {
    const files = readdirSync(directory).map((name) => join(directory, name));
    for (const path of [dirname(directory), directory, ...files]) chownSync(path, 65_534, 65_534);
  }
  chmodSync(directory, 0o500);
  if (isRoot) process.seteuid?.(65_534);
  try {
    await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(directory, 0o700);
  }
}

/** Waits for what must come, and fails where it does not. */
async function until(condition: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(20_000);
  while (!condition()) {
    limit.throwIfAborted();
    await setImmediate();
  }
}

describe('rotation', () => {
  it('publishes a key before it signs, and after it signed', async (t) => {
    const clock = new FakeClock();
    const start = clock.now();
    const directory = temporary(t);
    const keys = await open(t, directory, clock);
    const at = async (milliseconds: number) => {
      clock.advance(start + milliseconds - clock.now());
      await keys.lookAgain(); // it looks again at most each five seconds
      return { published: kids(keys), signing: keys.signing().kid };
    };
    const [first = ''] = kids(keys);
    assert.deepEqual(await at(83 * day - 5_000), { published: [first], signing: first });

    const { published } = await at(83 * day);
    const [, second = ''] = published;
    assert.deepEqual(published, [first, second]);
    assert.notEqual(second, first);
    assert.equal(keys.signing().kid, first);
    assert.deepEqual(await at(90 * day - 5_000), { published: [first, second], signing: first });
    clock.advance(4_999);
    assert.equal(keys.signing().kid, first);
    clock.advance(1); // it takes over by the clock, without a look
    assert.equal(keys.signing().kid, second);
    assert.deepEqual(await at(97 * day - 5_000), { published: [first, second], signing: second });
    assert.deepEqual(await at(97 * day), { published: [second], signing: second });
    assert.equal(signingFiles(directory).length, 1);

    const third = (await at(166 * day)).published[1];
    assert.ok(third !== undefined, 'third !== undefined');
    assert.deepEqual(await at(180 * day), { published: [third], signing: third });
    assert.equal(keys.authorities().length, 1);
  });

  it('keeps tokens valid all the way, at every replica', async (t) => {
    const clock = new FakeClock();
    const directory = temporary(t);
    const one = await openIssuer(t, directory, clock);
    const two = await openIssuer(t, directory, clock);
    const stranger = await openIssuer(t, temporary(t), clock);
    const unknown = await issue(stranger);
    const old: Secret[] = [];
    for (let hours = 0; hours < 24 * 200; hours += 12) {
      for (const issuer of [one, two]) {
        await assert.rejects(issuer.open(unknown, o), { code: 'UNAUTHORIZED' }); // makes it look at the directory
        old.push(await issue(issuer));
      }
      clock.advance(299_000);
      for (const token of old.splice(0)) {
        await one.open(token, o);
        await two.open(token, o);
      }
      clock.advance(12 * 3_600_000 - 299_000);
    }
  });

  it('goes on by itself, once a minute', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const clock = new FakeClock();
    const log = new FakeLog();
    const directory = temporary(t);
    const keys = await open(t, directory, clock, log);
    clock.advance(83 * day);
    t.mock.timers.tick(59_999);
    await setImmediate();
    assert.equal(kids(keys).length, 1);
    t.mock.timers.tick(1);
    await until(() => kids(keys).length === 2);

    // A damaged file of another replica is told, and what there is stays in use.
    writeFileSync(join(directory, 'signing-1767225600000-0000000000000000.pem'), 'damaged');
    t.mock.timers.tick(60_000);
    await until(() => log.at('error').length > 0);
    assert.match(log.text, /signing-1767225600000-0000000000000000\.pem.*cannot use the token key/);
    assert.equal(kids(keys).length, 2);
    assert.equal(keys.signing().kid, kids(keys)[0]);
    await keys.close();
  });

  it('after a long stop signs with the old key until the new one was published for long enough', async (t) => {
    const clock = new FakeClock();
    const directory = temporary(t);
    const before = await open(t, directory, clock);
    const [first] = kids(before);
    await before.close();
    clock.advance(400 * day);
    const keys = await open(t, directory, clock);
    assert.equal(kids(keys).length, 2);
    assert.equal(keys.signing().kid, first);
    clock.advance(7 * day);
    assert.equal(keys.signing().kid, kids(keys)[1]);
  });
});

describe('the directory', () => {
  it('is for us alone, but for the certificate to hand out', async (t) => {
    const before = process.umask(0);
    t.after(() => process.umask(before));
    const directory = temporary(t);
    await open(t, directory, new FakeClock());
    const mode = (path: string) => statSync(path).mode & 0o777;
    assert.equal(mode(directory), 0o700);
    const files = readdirSync(directory).sort();
    assert.deepEqual(
      files.map((name) => name.replace(/-.*/, '')),
      ['authority.pem', 'ca.pem', 'signing'],
    );
    for (const file of files)
      assert.equal(mode(join(directory, file)), file === 'ca.pem' ? 0o644 : 0o600, file);
    assert.doesNotMatch(readFileSync(join(directory, 'ca.pem'), 'utf8'), /PRIVATE/);
  });

  it('keeps the keys over a restart', async (t) => {
    const clock = new FakeClock();
    const directory = temporary(t);
    const before = await openIssuer(t, directory, clock);
    const token = await issue(before);
    const published = before.publicKeys();
    await before.close();
    const after = await openIssuer(t, directory, clock);
    assert.deepEqual(after.publicKeys(), published);
    await after.open(token, o);
  });

  it('gives replicas that open it empty at the same time one authority, and each takes the others’ tokens', async (t) => {
    const directory = temporary(t);
    const clock = new FakeClock();
    const replicas = await Promise.all(Array.from({ length: 6 }, () => openIssuer(t, directory, clock)));
    const tokens = await Promise.all(replicas.map(issue));
    for (const replica of replicas) {
      assert.equal(replica.publicKeys().certificates, replicas[0]?.publicKeys().certificates);
      for (const token of tokens) await replica.open(token, o);
    }
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.endsWith('.tmp')),
      [],
    );
    assert.equal(readFileSync(join(directory, 'ca.pem'), 'utf8'), replicas[0]?.publicKeys().certificates);
  });

  it('is looked at again for an unknown key, but not for each of many made-up ones', async (t) => {
    const directory = temporary(t);
    const clock = new FakeClock();
    const one = await openIssuer(t, directory, clock);
    const stranger = await issue(await openIssuer(t, temporary(t), clock));
    await assert.rejects(one.open(stranger, o), { code: 'UNAUTHORIZED' });
    // Another replica makes a key meanwhile that it signs with at once: the first ones are gone.
    for (const file of signingFiles(directory)) rmSync(join(directory, file));
    const token = await issue(await openIssuer(t, directory, clock));
    clock.advance(4_999);
    await assert.rejects(one.open(token, o), { code: 'UNAUTHORIZED' });
    clock.advance(1);
    await one.open(token, o);
  });

  const rows: readonly (readonly [name: string, spoil: (directory: string) => string])[] = [
    ['a damaged authority', (directory) => overwrite(join(directory, 'authority.pem'), 'damaged\nfile\n')],
    ['an empty authority', (directory) => overwrite(join(directory, 'authority.pem'), '')],
    [
      'an authority without its certificate',
      (directory) => {
        const path = join(directory, 'authority.pem');
        return overwrite(path, readFileSync(path, 'utf8').replace(/-----BEGIN CERT[\s\S]*/, ''));
      },
    ],
    [
      'an authority with a damaged certificate',
      (directory) => {
        const path = join(directory, 'authority.pem');
        return overwrite(path, readFileSync(path, 'utf8').replace(/(-----BEGIN CERT.*\n).*\n/, '$1AAAA\n'));
      },
    ],
    [
      'an authority with the certificate of another',
      (directory) => {
        const path = join(directory, 'authority.pem');
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const other = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
        return overwrite(
          path,
          other + readFileSync(path, 'utf8').replace(/^[\s\S]*?(?=-----BEGIN CERT)/, ''),
        );
      },
    ],
  ];
  for (const [name, spoil] of rows) {
    it(`with ${name} is told with one line that names the file; without a key it is refused`, async (t) => {
      const directory = temporary(t);
      const before = await open(t, directory, new FakeClock());
      await before.close();
      const path = spoil(directory);
      const log = new FakeLog();
      const keys = await open(t, directory, new FakeClock(), log);
      assert.deepEqual(kids(keys), kids(before));
      assert.match(log.text, /token keys not rotated, the present ones stay/);
      await keys.close();
      for (const file of signingFiles(directory)) rmSync(join(directory, file));
      await assert.rejects(open(t, directory, new FakeClock()), (error) => {
        const line = describeError(error);
        assert(line.includes(path), line);
        assert.doesNotMatch(line, /[\r\n]|-----/);
        return true;
      });
    });
  }

  for (const [name, spoil] of [
    ['a damaged key', (path: string) => writeFileSync(path, 'damaged')],
    ['an empty key', (path: string) => writeFileSync(path, '')],
    [
      'a key that is a directory',
      (path: string) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
  ] as const) {
    it(`with ${name} is told once, and another key signs`, async (t) => {
      const directory = temporary(t);
      const clock = new FakeClock();
      await (await open(t, directory, clock)).close();
      const [file = ''] = signingFiles(directory);
      spoil(join(directory, file));
      const log = new FakeLog();
      clock.advance(1); // a key made at the same moment would sort by its hash
      const keys = await open(t, directory, clock, log);
      assert.equal(kids(keys).length, 1);
      assert.equal(keys.signing().kid, kids(keys)[0]);
      await keys.lookAgain();
      assert.deepEqual(
        log.at('error').map(({ fields }) => fields.file),
        [join(directory, file)],
      );
      await keys.close();

      // Beside a good key none is made.
      const again = await open(t, directory, clock);
      assert.deepEqual(kids(again), kids(keys));
      assert.equal(signingFiles(directory).length, 2);
    });
  }

  it('that takes no writes is used as it is, also when a new key is due', async (t) => {
    const directory = temporary(t);
    const clock = new FakeClock();
    const before = await open(t, directory, clock);
    await before.close();
    const log = new FakeLog();
    await whileUnwritable(directory, async () => {
      const keys = await open(t, directory, clock, log);
      assert.deepEqual(kids(keys), kids(before));
      assert.deepEqual(log.entries, []);
      await keys.close();
      clock.advance(100 * day);
      const late = await open(t, directory, clock, log);
      assert.deepEqual(kids(late), kids(before));
      assert.match(log.text, /cannot write .*signing-.*not rotated/);
      await late.close();
    });
  });

  it('that takes no writes needs no ca.pem, but keys', async (t) => {
    const directory = temporary(t);
    await (await open(t, directory, new FakeClock())).close();
    rmSync(join(directory, 'ca.pem'));
    const log = new FakeLog();
    await whileUnwritable(directory, async () => {
      const keys = await open(t, directory, new FakeClock(), log);
      assert.equal(keys.authorities().length, 1);
      assert.match(log.at('warn')[0]?.fields.reason as string, /^cannot write .*\/ca\.pem/);
      assert.deepEqual(log.at('error'), []);
      await keys.close();
    });
    for (const file of readdirSync(directory)) rmSync(join(directory, file));
    await whileUnwritable(directory, () =>
      assert.rejects(open(t, directory, new FakeClock()), (error) =>
        describeError(error).startsWith(`cannot write ${directory}/authority.pem`),
      ),
    );
  });

  it('is rid of what a crash left behind, but not of what a replica writes just now', async (t) => {
    const directory = temporary(t);
    mkdirSync(directory);
    const [old, young] = ['authority.pem.1.tmp', 'authority.pem.2.tmp'].map((name) => join(directory, name));
    assert.ok(old !== undefined && young !== undefined, 'old !== undefined && young !== undefined');
    for (const path of [old, young]) writeFileSync(path, 'half a key');
    const longAgo = Date.now() / 1000 - 120;
    utimesSync(old, longAgo, longAgo);
    await open(t, directory, new FakeClock());
    assert.deepEqual([existsSync(old), existsSync(young)], [false, true]);
  });

  it('that is a file is refused', async (t) => {
    const directory = temporary(t);
    writeFileSync(directory, '');
    await assert.rejects(open(t, directory, new FakeClock()), (error) =>
      describeError(error).includes(directory),
    );
  });
});

function overwrite(path: string, text: string): string {
  writeFileSync(path, text);
  return path;
}
