import assert from 'node:assert/strict';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { checkFiles } from '../../src/config/check-files.js';
import { namedFiles } from '../../src/config/named-files.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { driver } from '../../src/verifiers/aws-identity.js';
import { document, startAwsDocuments } from './harness/aws-documents.js';
import { accepted, openVerifier, refusal, shown } from './harness/aws-identity-house.js';

const documents = startAwsDocuments();
after(() => documents.close());
const pemOf = (region: string) => readFileSync(documents.signer(region).certificate, 'latin1');
const [eu, us] = [pemOf('eu-west-1'), pemOf('us-east-1')];
const good = documents.sign(document);

/** A directory of the test's own. */
function directoryOf(t: TestContext, files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'aws-certificates-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

describe('a directory of certificates that cannot be used keeps it from starting:', () => {
  const weak = documents.stranger('weak', { bits: 1024 });
  const cases: Readonly<Record<string, readonly [files: Record<string, string>, says: RegExp]>> = {
    'an empty one': [
      {},
      /is empty; expected files REGION\.pem: `docker-registry-proxy aws-certificates` makes/,
    ],
    'one with another ending alone': [{ 'eu-west-1.crt': eu }, /holds none; expected files REGION\.pem/],
    'one with a region that is none': [
      { 'eu-west-1.pem': eu, 'europe.pem': eu },
      /holds "europe\.pem"; expected names such as eu-west-1\.pem/,
    ],
    'one with no region at all': [{ '.pem': eu, 'eu-west-1~.pem': eu }, /holds "eu-west-1~\.pem"/],
    'a file without a certificate': [
      { 'eu-west-1.pem': 'x' },
      /eu-west-1\.pem holds no certificate; expected PEM/,
    ],
    'an empty file': [{ 'eu-west-1.pem': '' }, /eu-west-1\.pem holds no certificate/],
    'a damaged second certificate': [
      { 'eu-west-1.pem': `${eu}${us.slice(0, -80)}` },
      /eu-west-1\.pem holds a damaged certificate/,
    ],
    'a file that is too large': [{ 'eu-west-1.pem': eu.repeat(100) }, /eu-west-1\.pem is over 65536 bytes/],
    'a weak key': [
      { 'eu-west-1.pem': readFileSync(weak.certificate, 'latin1') },
      /certificate 1 has an RSA key of 1024 bits; expected one that AWS lists under RSA-2048/,
    ],
  };
  for (const [what, [files, says]] of Object.entries(cases)) {
    test(what, async (t) => {
      const opened = openVerifier(t, { certificates: directoryOf(t, files) });
      await assert.rejects(
        opened,
        (error: Error) => says.test(error.message) && !error.message.includes('\n'),
      );
    });
  }

  test('one in place of a file', async (t) => {
    const certificates = directoryOf(t, {});
    mkdirSync(join(certificates, 'eu-west-1.pem'));
    await assert.rejects(openVerifier(t, { certificates }), /eu-west-1\.pem is not a regular file/);
  });

  test('one that is not there', async (t) => {
    await assert.rejects(
      openVerifier(t, { certificates: '/nowhere/at/all' }),
      /^Error: cannot read \/nowhere\/at\/all: ENOENT$/,
    );
  });

  test('one without a region that is to count', async (t) => {
    const certificates = directoryOf(t, { 'eu-west-1.pem': eu });
    const opened = openVerifier(t, { certificates, regions: ['eu-west-1', 'us-east-1'] });
    await assert.rejects(opened, /has no us-east-1\.pem, and us-east-1 is one of `regions`/);
  });
});

describe('a directory of certificates', () => {
  test('may have several for a region, and those of a Kubernetes volume', async (t) => {
    const certificates = directoryOf(t, {});
    const stranger = documents.stranger('next');
    mkdirSync(join(certificates, '..2026_01_01'));
    writeFileSync(
      join(certificates, '..2026_01_01', 'eu-west-1.pem'),
      `${readFileSync(stranger.certificate, 'latin1')}${eu}`,
    );
    symlinkSync('..2026_01_01', join(certificates, '..data'));
    symlinkSync(join('..data', 'eu-west-1.pem'), join(certificates, 'eu-west-1.pem'));
    const verifier = await openVerifier(t, { certificates });
    await accepted(verifier, shown(good));
    await accepted(verifier, shown(documents.sign(document, stranger)));
  });

  test('may have files with other endings, which are told once and not read', async (t) => {
    const log = new FakeLog();
    const certificates = directoryOf(t, { 'eu-west-1.pem': eu, 'us-east-1.pem~': us, 'README.md': 'x' });
    mkdirSync(join(certificates, 'old'));
    const verifier = await openVerifier(t, { certificates }, { log });
    await accepted(verifier, shown(good));
    const other = documents.sign({ ...document, region: 'us-east-1' }, documents.signer('us-east-1'));
    assert.match(await refusal(verifier, shown(other)), /is not pinned/);
    const files = ['README.md', 'old', 'us-east-1.pem~'];
    assert.deepEqual(
      log.at('warn').map(({ fields }) => fields),
      [{ id: 'aws', directory: certificates, files, count: 3 }],
    );
  });

  test('names ten of the files that it ignores', async (t) => {
    const log = new FakeLog();
    const others = Array.from({ length: 12 }, (_, i) => [`note-${i}.txt`, ''] as const);
    const certificates = directoryOf(t, { 'eu-west-1.pem': eu, ...Object.fromEntries(others) });
    await openVerifier(t, { certificates }, { log });
    const { files, count } = log.at('warn')[0]?.fields ?? {};
    assert.deepEqual([Array.isArray(files) && files.length, count], [10, 12]);
  });

  test('may have one certificate for several regions', async (t) => {
    const certificates = directoryOf(t, { 'eu-west-1.pem': eu, 'eu-west-9.pem': eu });
    const verifier = await openVerifier(t, { certificates });
    await accepted(verifier, shown(good));
    const elsewhere = documents.sign({ ...document, region: 'us-east-1' }, documents.signer('eu-west-1'));
    assert.match(
      await refusal(verifier, shown(elsewhere)),
      /is of us-east-1, and eu-west-1, eu-west-9 signed it/,
    );
  });

  test('with a certificate that has ended is told, and serves for the others', async (t) => {
    const log = new FakeLog();
    const clock = new FakeClock(Date.now() + 10 * 24 * 3_600_000);
    const ended = documents.stranger('ended', { notAfter: Date.now() + 24 * 3_600_000 });
    const both = `${readFileSync(ended.certificate, 'latin1')}${eu}`;
    const verifier = await openVerifier(
      t,
      { certificates: directoryOf(t, { 'eu-west-1.pem': both }) },
      { log, clock },
    );
    assert.deepEqual(
      log.at('warn').map(({ message, fields }) => [message, fields.id, fields.region]),
      [['a certificate for documents of AWS is not valid now', 'aws', 'eu-west-1']],
    );
    await accepted(verifier, shown(good));
    assert.match(
      await refusal(verifier, shown(documents.sign(document, ended))),
      /is not valid now \(eu-west-1\)/,
    );
  });
});

describe('a configuration is refused', () => {
  const whole = { certificates: 'certs', accounts: [document.accountId] };
  const cases: Readonly<Record<string, readonly [settings: object, path: string, says: RegExp]>> = {
    'without accounts (threat 4)': [{ accounts: undefined }, 'accounts', /those of everybody would count/],
    'with an empty list of accounts': [{ accounts: [] }, 'accounts', /at least one account/],
    'with an account that is a number': [
      { accounts: [123456789012] },
      'accounts.0',
      /12 digits of an account, in quotes/,
    ],
    'with a pattern of accounts': [{ accounts: ['*'] }, 'accounts.0', /12 digits/],
    'without certificates': [{ certificates: undefined }, 'certificates', /expected a directory name/],
    'with an empty list of regions': [{ regions: [] }, 'regions', /at least one/],
    'with a region that is none': [{ regions: ['eu-west-*'] }, 'regions.0', /a region such as eu-west-1/],
    'with an empty list of types': [
      { instanceTypes: [] },
      'instanceTypes',
      /leave it out where all instance types count/,
    ],
    'with another first use': [{ firstUse: 'always' }, 'firstUse', /expected address, nonce or none/],
    'with an age that counts never': [
      { firstUse: 'none', maxAge: '1h' },
      'maxAge',
      /with firstUse: none there is none/,
    ],
    'with a role that is none': [
      { describeInstances: { assumeRole: { arn: 'see-instances' } } },
      'describeInstances.assumeRole.arn',
      /expected/,
    ],
    'with a key that nobody knows': [{ account: '123456789012' }, '', /account/],
  };
  for (const [what, [settings, path, says]] of Object.entries(cases)) {
    test(what, () => {
      const issue = driver.config.safeParse({ ...whole, ...settings }).error?.issues[0];
      assert.ok(issue, 'it is taken');
      assert.equal(issue.path.join('.'), path);
      assert.match(issue.message, says);
    });
  }

  for (const describeInstances of [true, {}]) {
    test(`not with describeInstances: ${JSON.stringify(describeInstances)}`, () => {
      assert.equal(driver.config.parse({ ...whole, describeInstances }).describeInstances?.timeout, 10_000);
    });
  }

  test('where its directory is a file, or not there', async (t) => {
    const directory = directoryOf(t, { file: '' });
    const messageOf = async (certificates: string) => {
      const config = driver.config.parse({ ...whole, certificates });
      return (await checkFiles(config, [], directory, {})).map(
        ({ path, message }) => `${path.join('.')}: ${message}`,
      );
    };
    assert.deepEqual(await messageOf('file'), ['certificates: file is a file; expected a directory']);
    assert.deepEqual(await messageOf('absent'), ['certificates: absent does not exist']);
    assert.deepEqual(await messageOf('.'), []);
  });
});

describe('the files that a directory brings', () => {
  const read = (directory: string) => {
    const config = driver.config.parse({ certificates: directory, accounts: [document.accountId] });
    return namedFiles([{ path: ['verifiers', 0], config }], '/');
  };
  const changes: Readonly<Record<string, (directory: string) => void>> = {
    'a file is written': (directory) => writeFileSync(join(directory, 'eu-west-1.pem'), us),
    'a file comes': (directory) => writeFileSync(join(directory, 'us-east-1.pem'), us),
    'a file goes': (directory) => rmSync(join(directory, 'eu-west-1.pem')),
    'a file gets another name': (directory) =>
      renameSync(join(directory, 'eu-west-1.pem'), join(directory, 'eu-west-2.pem')),
    'a file takes the place of another': (directory) => {
      writeFileSync(join(directory, 'new'), us);
      renameSync(join(directory, 'new'), join(directory, 'eu-west-1.pem'));
    },
    'it is gone': (directory) => rmSync(directory, { recursive: true }),
  };
  for (const [what, change] of Object.entries(changes)) {
    test(`are others where ${what}`, async (t) => {
      const directory = directoryOf(t, { 'eu-west-1.pem': eu });
      const before = await read(directory);
      assert.deepEqual(before, await read(directory));
      const paths = [directory, join(directory, 'eu-west-1.pem')];
      assert.deepEqual(
        before.map(({ setting, path }) => [setting, path]),
        paths.map((path) => ['verifiers[0].certificates', path]),
      );
      change(directory);
      const after = await read(directory);
      assert.ok(
        before.every(({ digest }) => digest === before[0]?.digest),
        'one digest for all',
      );
      assert.notEqual(after[0]?.digest, before[0]?.digest);
    });
  }

  test('are the same in a copy', async (t) => {
    const directory = directoryOf(t, { 'eu-west-1.pem': eu });
    const [before] = await read(directory);
    cpSync(directory, `${directory}-copy`, { recursive: true });
    rmSync(directory, { recursive: true });
    renameSync(`${directory}-copy`, directory);
    const [after] = await read(directory);
    assert.equal(after?.digest, before?.digest);
  });
});
