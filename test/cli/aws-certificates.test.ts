import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RegionsPageError, readRegionsPage } from '../../src/bin/aws-certificates/regions-page.js';
import { addAwsCertificatesCommand } from '../../src/bin/aws-certificates.js';
import { createAuthority } from '../../src/testing/certificates.js';
import { startWorld } from '../clouds/harness/world.js';
import { CheckedDirectory, run as runProgram } from './checking.js';
import { runInProcess } from './in-process.js';

const run = (args: readonly string[]) => runInProcess(addAwsCertificatesCommand, args);

/** A region's certificates by the names of their tabs. */
type Tabs = Readonly<Record<string, string | undefined>>;
type Regions = Readonly<Record<string, Tabs>>;

/** As `regions-certs.md` is written. */
function markdown(
  regions: Regions,
  title = 'AWS public certificates for instance identity document signatures',
) {
  const tab = ([name, pem]: [string, string | undefined]) =>
    pem === undefined ? '' : `#### [ ${name} ]\n\n\`\`\`\n${pem.trim()}\n\`\`\`\n\n`;
  const sections = Object.entries(regions).map(
    ([region, tabs]) =>
      `## Somewhere (Place) — ${region}\n<a name="${region}-cert"></a>\n\n------\n${Object.entries(tabs).map(tab).join('')}------\n\n`,
  );
  return (
    `# ${title}\n<a name="regions-certs"></a>\n\nUse the RSA-2048 certificate.\n\n` +
    `**Expand each Region.**\n\n${sections.join('')}`
  );
}

/** As `regions-certs.html` is. */
function html(regions: Regions) {
  const tab = ([name, pem]: [string, string | undefined]) =>
    pem === undefined
      ? ''
      : `<dt>${name}</dt><dd tab-id="${name.toLowerCase()}"><pre class="programlisting"><code class="nohighlight">${pem.trim().replaceAll('\n', '\r\n\t')}</code></pre></dd>`;
  const sections = Object.entries(regions).map(
    ([region, tabs]) =>
      `<awsui-expandable-section variant="container" header="Somewhere — ${region}" id="${region}-cert" expanded="false">` +
      `<awsdocs-tabs><dl style="display: none">${Object.entries(tabs).map(tab).join('')}</dl></awsdocs-tabs></awsui-expandable-section>`,
  );
  return `<!DOCTYPE html><html><body><h1 id="regions-certs">AWS</h1><p>RSA-2048</p>${sections.join('')}</body></html>`;
}

/** Reads pages, and prints a line for what each of them says. */
const readAll = `
  import { readFileSync } from 'node:fs';
  import { readRegionsPage } from ${JSON.stringify(import.meta.resolve('../../src/bin/aws-certificates/regions-page.ts'))};
  for (const file of process.argv.slice(1)) {
    try {
      console.log(readRegionsPage(readFileSync(file, 'utf8')));
    } catch (error) {
      console.log(String(error));
    }
  }
`;

const rsa = async (name: string) => (await createAuthority({ name, kind: 'rsa' })).certificate;
const fingerprint = (pem: string) => new X509Certificate(pem).fingerprint256;
const real = fileURLToPath(new URL('../../../shared/vectors/aws-identity/rsa2048', import.meta.url));

describe('aws-certificates', () => {
  const directory = new CheckedDirectory();
  after(() => directory.remove());
  let one: string;
  let two: string;
  let other: string;
  let weak: string;
  let regions: Regions;
  before(async () => {
    [one, two, other] = await Promise.all([rsa('one'), rsa('two'), rsa('other')]);
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:1024',
      '-nodes',
      '-subj',
      '/CN=weak',
      '-keyout',
      '/dev/null',
    ];
    weak = execFileSync('openssl', request, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    regions = {
      'eu-west-1': { DSA: other, RSA: weak, 'RSA-2048': one },
      'us-gov-east-1': { DSA: other, RSA: other, 'RSA-2048': two },
    };
  });
  const to = (name: string) => join(directory.path, name);
  const write = (page: string, name: string) => {
    const file = directory.write(`${name}.page`, page);
    return run(['aws-certificates', '--from', file, '--to', to(name)]);
  };
  const files = (name: string) => (existsSync(to(name)) ? readdirSync(to(name)).sort() : []);
  const written = (name: string, region: string) => readFileSync(join(to(name), `${region}.pem`), 'utf8');
  const states = (stdout: string) =>
    Object.fromEntries(
      stdout
        .split('\n')
        .slice(1, -1)
        .map((line) => [line.split(/ {2,}/)[0], line.split(/ {2,}/)[2]]),
    );

  test('reads the RSA-2048 certificate of each region of a page in HTML', () => {
    const { certificates, without } = readRegionsPage(html(regions));
    const found = [...certificates].map(([region, all]) => [region, ...all.map((c) => c.fingerprint256)]);
    assert.deepEqual(found, [
      ['eu-west-1', fingerprint(one)],
      ['us-gov-east-1', fingerprint(two)],
    ]);
    assert.deepEqual(without, []);
  });

  test('writes the RSA-2048 certificate of each region of a page in Markdown', async () => {
    const { code, stdout, stderr } = await write(markdown(regions), 'Markdown');
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(files('Markdown'), ['eu-west-1.pem', 'us-gov-east-1.pem']);
    assert.equal(fingerprint(written('Markdown', 'eu-west-1')), fingerprint(one));
    assert.equal(fingerprint(written('Markdown', 'us-gov-east-1')), fingerprint(two));
    assert.equal(statSync(join(to('Markdown'), 'eu-west-1.pem')).mode & 0o777, 0o644);
    assert.match(
      stdout,
      /^REGION +ENDS +FILE +SHA-256\neu-west-1 +\d{4}-\d\d-\d\d +new +[0-9A-F]{64}\nus-gov-east-1 /,
    );
    assert.ok(stdout.includes(fingerprint(one).replaceAll(':', '')), 'the fingerprint to compare');
    const again = [
      'aws-certificates',
      '--from',
      join(directory.path, 'Markdown.page'),
      '--to',
      to('Markdown'),
    ];
    const program = await runProgram(again);
    assert.deepEqual([program.code, program.stderr], [0, '']);
    assert.equal(program.stdout, stdout.replaceAll('new ', 'same'));
  });

  test('says what is new, changed and the same, and deletes nothing', async () => {
    await write(markdown(regions), 'again');
    const own = join(to('again'), 'own.txt');
    execFileSync('touch', [own, join(to('again'), 'us-west-2.pem')]);
    const { 'eu-west-1': first = {}, ...rest } = regions;
    const next = { ...rest, 'eu-west-1': { ...first, 'RSA-2048': other }, 'eu-west-2': { 'RSA-2048': one } };
    const { code, stdout } = await write(markdown(next), 'again');
    assert.equal(code, 0);
    assert.deepEqual(states(stdout), { 'eu-west-1': 'changed', 'eu-west-2': 'new', 'us-gov-east-1': 'same' });
    assert.equal(fingerprint(written('again', 'eu-west-1')), fingerprint(other));
    assert.deepEqual(files('again'), [
      'eu-west-1.pem',
      'eu-west-2.pem',
      'own.txt',
      'us-gov-east-1.pem',
      'us-west-2.pem',
    ]);
  });

  test('keeps two certificates of a region, where one follows the other', async () => {
    const page = markdown({ 'eu-west-1': { 'RSA-2048': `${one}\n${two}` } });
    const { stdout } = await write(page, 'two');
    assert.equal(written('two', 'eu-west-1').match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.equal(stdout.split('\n').filter((line) => line.startsWith('eu-west-1 ')).length, 2);
    assert.deepEqual(states((await write(page, 'two')).stdout), { 'eu-west-1': 'same' });
  });

  test('replaces a link, and leaves alone what it leads to', async () => {
    const elsewhere = directory.write('elsewhere', 'precious');
    mkdirSync(to('linked'));
    symlinkSync(elsewhere, join(to('linked'), 'eu-west-1.pem'));
    assert.equal((await write(markdown(regions), 'linked')).code, 0);
    assert.equal(readFileSync(elsewhere, 'utf8'), 'precious');
    assert.equal(fingerprint(written('linked', 'eu-west-1')), fingerprint(one));
  });

  test('names regions without such a certificate', async () => {
    const page = markdown({ ...regions, 'mx-central-1': { DSA: other } });
    const { code, stderr } = await write(page, 'without');
    assert.equal(code, 0);
    assert.match(stderr, /^warning: .* lists no RSA-2048 certificate of mx-central-1\n$/);
    assert.equal(files('without').includes('mx-central-1.pem'), false);
  });

  const bad: Readonly<Record<string, readonly [page: () => string, says: RegExp]>> = {
    nothing: [() => '', /no certificate stands there under RSA-2048/],
    'another page': [() => '<html><body>Not found</body></html>', /no certificate stands there/],
    'certificates of the other kinds': [
      () => markdown({ 'eu-west-1': { DSA: one, RSA: two } }),
      /no certificate stands/,
    ],
    'certificates without a region': [
      () => `## A\n#### [ RSA-2048 ]\n\n${one}`,
      /a certificate stands there under no region/,
    ],
    'a section of an unknown form after a good one': [
      () => `${markdown(regions)}## Somewhere new\n#### [ RSA-2048 ]\n\n${other}`,
      /a certificate stands there under no region/,
    ],
    'a small key': [
      () => markdown({ ...regions, 'eu-west-2': { 'RSA-2048': weak } }),
      /of eu-west-2 has no RSA key of 2048/,
    ],
    'a damaged certificate': [
      () => markdown({ ...regions, 'eu-west-2': { 'RSA-2048': one.replace('MII', 'MIJ') } }),
      /of eu-west-2 cannot be read/,
    ],
    'a region that is a path': [() => markdown({ '../../x': { 'RSA-2048': one } }), /under no region/],
  };
  for (const [name, [page, says]] of Object.entries(bad)) {
    test(`of ${name} nothing is taken`, () => {
      assert.throws(
        () => readRegionsPage(page()),
        (error) => error instanceof RegionsPageError && says.test(error.message),
      );
    });
  }

  test('of a page with one that is bad it writes nothing, and says so', async () => {
    const page = markdown({ ...regions, 'us-west-2': { 'RSA-2048': weak } });
    const command = ['aws-certificates', '--from', directory.write('bad.page', page), '--to', to('bad')];
    for (const ended of [await run(command), await runProgram(command)]) {
      assert.deepEqual([ended.code, ended.stdout, files('bad')], [1, '', []]);
      assert.match(
        ended.stderr,
        /^[^\n]*of us-west-2 has no RSA key of 2048 bits or more; is it the page https:[^\n]*\n$/,
      );
    }
  });

  const wrong: Readonly<
    Record<string, readonly [args: () => readonly string[], code: number, says: RegExp]>
  > = {
    'no page': [() => ['--to', to('x')], 2, /required option '--from/],
    'a file that is not there': [
      () => ['--from', to('absent'), '--to', to('x')],
      2,
      /cannot read .*absent: ENOENT/,
    ],
    http: [
      () => ['--from', 'http://example.com/x', '--to', to('x')],
      2,
      /--from: expected a file, or an https URL/,
    ],
    'a proxy that is none': [
      () => ['--from', 'https://example.com/', '--to', to('x'), '--proxy', 'nowhere'],
      2,
      /--proxy: expected a URL/,
    ],
    'a directory that is a file': [
      () => ['--from', directory.write('p', markdown(regions)), '--to', directory.write('file', '')],
      1,
      /cannot write to .*file: .*EEXIST/,
    ],
  };
  for (const [name, [args, code, says]] of Object.entries(wrong)) {
    test(`${name} is refused with ${code}`, async () => {
      const ended = await run(['aws-certificates', ...args()]);
      assert.deepEqual([ended.code, ended.stdout], [code, '']);
      assert.match(ended.stderr, says);
    });
  }

  const endless: Readonly<Record<string, string>> = {
    'opened tags': '<dt ',
    'opened tags with quotes': '<dt id="',
    'anchors without an end': ' id="a',
    'a region without an end': '-a',
    'sections and tabs': '\n## \n#### [ ',
    'tabs of spaces': '<dt>                a                ',
    'certificates without an end': '-----BEGIN CERTIFICATE-----A ',
    hyphens: '-',
  };
  const endlessPage = (piece: string) => `## x\n id="a${piece.repeat(Math.ceil(1_000_000 / piece.length))}`;

  test(`pages of ${Object.keys(endless).join(', ')} are read to their end`, async () => {
    const files = Object.values(endless).map((piece, i) =>
      directory.write(`${i}.endless`, endlessPage(piece)),
    );
    const command = ['--import', 'tsx', '--input-type=module', '--eval', readAll, ...files];
    // A process of its own: it is ended where it reads for a minute.
    const { stdout } = await promisify(execFile)(process.execPath, command, { timeout: 60_000 });
    const said = stdout.trimEnd().split('\n');
    assert.equal(said.length, files.length, stdout);
    for (const one of said)
      assert.match(one, /^RegionsPageError: no certificate stands there under RSA-2048/);
  });

  test('fetches the page from its address, and from nowhere it leads to', async (t) => {
    const world = await startWorld();
    t.after(() => world.close());
    const pages = new Map([['/page.md', markdown(regions)]]);
    world.host('docs.aws.amazon.com', ({ url, text }) => {
      const page = pages.get(url.pathname);
      if (page !== undefined) return text(200, page);
      if (url.pathname === '/moved') return text(301, '', { location: 'https://evil.example.com/' });
      return text(404, 'nothing here');
    });
    const ca = directory.write('world.pem', world.authority);
    const from = (path: string) => [
      ...['aws-certificates', '--from', `https://docs.aws.amazon.com${path}`, '--to', to('fetched')],
      ...['--ca', ca, '--proxy', world.proxyUrl],
    ];
    const found = await run(from('/page.md'));
    assert.deepEqual([found.code, found.stderr, files('fetched').length], [0, '', 2]);
    const moved = await run(from('/moved'));
    assert.deepEqual([moved.code, moved.stdout], [1, '']);
    assert.match(moved.stderr, /answered 301; redirects are not followed/);
    assert.match((await run(from('/absent'))).stderr, /answered 404\n$/);
    assert.deepEqual(world.unknownNames, []);
  });

  test('a directory that cannot be made is told', async () => {
    writeFileSync(to('file'), '');
    const page = directory.write('whole.page', markdown(regions));
    const { code, stderr } = await run(['aws-certificates', '--from', page, '--to', to('file/closed')]);
    assert.equal(code, 1);
    assert.match(stderr, /cannot write to .*ENOTDIR/);
  });
});

describe('the certificates that AWS publishes', () => {
  const skip = !existsSync(real) && 'the shared vectors are not here';
  for (const [form, print] of [
    ['Markdown', markdown],
    ['HTML', html],
  ] as const) {
    test(`are read from a page in ${form}, each for its region`, { skip }, () => {
      const names = readdirSync(real).filter((name) => name.endsWith('.pem'));
      const all = names.map((name) => [name.slice(0, -4), readFileSync(join(real, name), 'utf8')] as const);
      const page = print(Object.fromEntries(all.map(([region, pem]) => [region, { 'RSA-2048': pem }])));
      const { certificates, without } = readRegionsPage(page);
      assert.deepEqual(without, []);
      assert.ok(certificates.size >= 30, `${certificates.size} regions`);
      for (const [region, pem] of all) {
        const found = certificates.get(region)?.map(({ fingerprint256 }) => fingerprint256);
        assert.deepEqual(found, [fingerprint(pem)], region);
      }
    });
  }
});
