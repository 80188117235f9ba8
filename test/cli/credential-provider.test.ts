import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { readPodToken } from '../../src/bin/credential-provider/pod-token.js';
import { proofIn } from '../../src/protocol/identity-envelope.js';
import { Secret } from '../../src/secret.js';
import { KubeletProviders, readAnswer } from '../harness/kubelet-providers.js';
import { type Provided, ProviderMachine, requestFor, runProvider } from './providing.js';

// What kubelet is answered, by rules and by tokens of pods.

const password = 'pa+ss "wörd"/%3d';
const seconds = () => Math.floor(Date.now() / 1000);

/** As the API server makes them; nothing here looks at the signature. */
function tokenOf(claims: Readonly<Record<string, unknown>> = {}, namespace = 'web'): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const all = {
    iss: 'https://kubernetes.default.svc.cluster.local',
    ...{ aud: ['docker.example.com'], iat: seconds(), exp: seconds() + 3600 },
    sub: `system:serviceaccount:${namespace}:default`,
    'kubernetes.io': { namespace, pod: { name: 'web-1', uid: 'u' } },
    ...claims,
  };
  return `${part({ alg: 'RS256', kid: 'k' })}.${part(all)}.c2lnbmF0dXJl`;
}

const credentialsOf = (username: string) => ({
  ...{ type: 'static', username },
  password: { file: 'password' },
});
const audience = 'docker.example.com';
const podIdentity = { audience };

function machineWith(t: TestContext, images: unknown): ProviderMachine {
  const machine = new ProviderMachine(t, images);
  machine.write('password', password);
  machine.write('token', 'the-token');
  return machine;
}

const rules = [
  { match: 'docker.example.com/vault/**', annotations: { team: '*' }, credentials: credentialsOf('never') },
  { match: 'docker.example.com/own/**', podIdentity },
  { match: 'docker.example.com/web/**', namespaces: ['web', 'shop-*'], podIdentity },
  { match: 'docker.example.com/b/**', podIdentity: { audience: 'b', username: '_kubernetes-b' } },
  { match: 'docker.example.com/**', podIdentity, credentials: credentialsOf('node') },
  { match: 'plain.example.com:5000/team-*/app', credentials: credentialsOf('team') },
  { match: 'plain.example.com:5000/**', credentials: credentialsOf('plain') },
  { match: 'docker.io/acme/**', credentials: credentialsOf('hub') },
  { match: 'open.example.com/**', credentials: { type: 'anonymous' } },
  { match: 'token.example.com/**', credentials: { type: 'static', identityToken: { file: 'token' } } },
  { match: 'bearer.example.com/**', credentials: { type: 'static', registryToken: { file: 'token' } } },
  { match: 'pod.example.com/**', credentials: { type: 'kubernetes-token', file: 'absent' } },
];

function authOf({ code, stdout, stderr }: Provided) {
  assert.deepEqual([code, stderr], [0, ''], stdout);
  assert.match(stdout, /^\{[^\n]*\}\n$/);
  return readAnswer(stdout);
}

describe('a request without a token', () => {
  const cases: readonly (readonly [image: string, username: string | undefined, key?: string])[] = [
    ['plain.example.com:5000/team-a/app', 'team'],
    ['plain.example.com:5000/team-a/app:1.2', 'team', 'plain.example.com:5000/team-a/app'],
    ['plain.example.com:5000/other', 'plain'],
    ['plain.example.com/other', undefined],
    ['Plain.example.com:5000/other', 'plain'],
    ['plain.example.com:5000/v2/app', 'plain', 'plain.example.com:5000/v2/v2/app'],
    ['docker.io/acme/app', 'hub'],
    ['docker.io/library/alpine', undefined],
    ['alpine', undefined],
    ['not an image', undefined],
    ['evil.example.com/plain.example.com', undefined],
    ['open.example.com/app', undefined],
  ];
  for (const [image, username, key = image] of cases) {
    test(`for ${image}: ${username ?? 'nothing'}`, async (t) => {
      const { cacheKeyType, auth } = authOf(await machineWith(t, rules).ask(image));
      assert.equal(cacheKeyType, 'Image');
      assert.deepEqual(auth, username === undefined ? {} : { [key]: { username, password } });
    });
  }

  test('is answered for images of pods by the other provider', async (t) => {
    const machine = machineWith(t, rules);
    assert.deepEqual(authOf(await machine.ask('docker.example.com/app')).auth, {});
    const { auth } = authOf(await machine.ask('docker.example.com/app', { audience }));
    assert.deepEqual(auth, { 'docker.example.com/app': { username: 'node', password } });
    assert.deepEqual(authOf(await machine.ask('docker.example.com/own/app', { audience })).auth, {});
  });

  test('standard error says why there is nothing, where it is asked to', async (t) => {
    const env = { KUBELET_IMAGE_SERVICE_DEBUG: '1' };
    const machine = machineWith(t, rules);
    for (const [image, why] of [
      ['alpine', /no rule of \S+config\.yaml is for this image/],
      ['docker.example.com/own/x', /it is for the provider with --audience docker\.example\.com/],
      ['open.example.com/app', /anonymous has nothing to show/],
    ] as const) {
      const { stderr } = await machine.ask(image, { env });
      assert.match(stderr, why);
      assert.match(stderr, /^kubelet-image-service: debug: /);
    }
  });
});

describe('a request with the token of a pod', () => {
  test('shows it in its envelope, and for no longer than it lives', async (t) => {
    const token = tokenOf();
    const { auth, cacheDuration } = authOf(
      await machineWith(t, rules).ask('docker.example.com/own/app', { token, audience }),
    );
    const { username, password: shown } = auth['docker.example.com/own/app'] ?? assert.fail('no answer');
    assert.equal(username, '_kubernetes');
    assert.deepEqual(proofIn(shown), { proof: token });
    assert.ok(cacheDuration > 2_800 && cacheDuration <= 2_880, `${cacheDuration} s`);
  });

  test('has the user name of its cluster', async (t) => {
    const asked = { token: tokenOf({ aud: ['b'] }), audience: 'b' };
    const { auth } = authOf(await machineWith(t, rules).ask('docker.example.com/b/app', asked));
    assert.equal(auth['docker.example.com/b/app']?.username, '_kubernetes-b');
  });

  for (const [namespace, expected] of [
    ['web', '_kubernetes'],
    ['shop-1', '_kubernetes'],
    ['webb', 'node'],
  ] as const) {
    test(`of ${namespace} may narrow a rule: ${expected}`, async (t) => {
      const images = [rules[2], { match: 'docker.example.com/**', credentials: credentialsOf('node') }];
      const asked = { token: tokenOf({}, namespace), audience };
      const { auth } = authOf(await machineWith(t, images).ask('docker.example.com/web/app', asked));
      assert.equal(auth['docker.example.com/web/app']?.username, expected);
    });
  }

  test('says its namespace in its subject, where it says it nowhere else', async (t) => {
    const asked = { token: tokenOf({ 'kubernetes.io': undefined }), audience };
    const { auth } = authOf(await machineWith(t, [rules[2]]).ask('docker.example.com/web/app', asked));
    assert.equal(auth['docker.example.com/web/app']?.username, '_kubernetes');
  });

  const refused: Readonly<Record<string, readonly [token: string, expected: RegExp]>> = {
    'for the API server': [
      tokenOf({ aud: ['https://kubernetes.default.svc.cluster.local'] }),
      /^the pod's token is not for docker\.example\.com alone: nothing is shown; write serviceAccountTokenAudience/,
    ],
    'for another audience that begins alike': [tokenOf({ aud: ['docker.example.com.evil'] }), /alone/],
    'for somebody else, too': [tokenOf({ aud: ['docker.example.com', 'api'] }), /alone/],
    'for nobody': [tokenOf({ aud: undefined }), /alone/],
    'that has ended': [tokenOf({ exp: seconds() - 1 }), /^the pod's token has ended$/],
    'that never ends': [tokenOf({ exp: undefined }), /never ends/],
    'whose end is no time': [tokenOf({ exp: 1e300 }), /never ends/],
    'that is none': ['hunter2-hunter2', /^what kubelet gave is not a token of a ServiceAccount$/],
    'that no login carries': [tokenOf({ more: 'x'.repeat(10_000) }), /is too long for a login/],
  };
  for (const [what, [token, expected]] of Object.entries(refused)) {
    test(`${what}: it is not shown`, async (t) => {
      const told = await machineWith(t, rules).ask('docker.example.com/own/app', { token, audience });
      assertFailed(told, 1, expected);
      assert.doesNotMatch(told.stderr, /hunter2|c2lnbmF0dXJl|eyJ/);
    });
  }

  test('for the audience of its own API server: it is not shown', async (t) => {
    const iss = 'https://oidc.example.com/cluster';
    for (const [named, code, expected] of [
      [iss, 1, /audience of the API server/],
      ['https://kubernetes.default.svc', 2, /podIdentity\.audience: is an audience of API servers/],
      ['HTTPS://kubernetes.default.svc', 2, /podIdentity\.audience: is an audience of API servers/],
      ['kubernetes.default.svc', 2, /podIdentity\.audience: is an audience of API servers/],
      ['k3s', 2, /podIdentity\.audience: is an audience of API servers/],
    ] as const) {
      const machine = machineWith(t, [{ match: 'docker.example.com/**', podIdentity: { audience: named } }]);
      const asked = { token: tokenOf({ aud: [named], iss }), audience: named };
      assertFailed(await machine.ask('docker.example.com/app', asked), code, expected);
    }
  });

  test('for an API server: it is not shown, whatever the configuration says', () => {
    for (const named of ['k3s', 'rke2', 'api', 'kubernetes.default.svc', 'HTTPS://kubernetes.default.svc']) {
      const token = new Secret(tokenOf({ aud: [named] }));
      assert.throws(() => readPodToken(token, named, Date.now()), /audience of the API server/, named);
    }
  });

  test('where kubelet and the provider do not agree whether there are tokens', async (t) => {
    const machine = machineWith(t, rules);
    const told = await machine.ask('docker.example.com/own/app', { token: tokenOf() });
    assertFailed(told, 1, /^kubelet gives this provider tokens of pods, and it has no --audience: /);
    const other = await machine.ask('docker.example.com/own/app', { audience: 'other' });
    assertFailed(other, 2, /^--audience: no rule has a podIdentity for other$/);
  });
});

function assertFailed({ code, stdout, stderr }: Provided, expectedCode: number, expected: RegExp): void {
  assert.deepEqual([code, stdout], [expectedCode, '']);
  assert.match(stderr.trimEnd(), expected);
  assert.match(stderr, /^[^\n]+\n$/, 'not one line');
}

describe('what is wrong is one line on standard error', () => {
  const type = { kind: 'CredentialProviderRequest', apiVersion: 'credentialprovider.kubelet.k8s.io/v1' };
  const image = 'plain.example.com:5000/app';
  const serviceAccountToken = 'hunter2';
  const cases: Readonly<Record<string, readonly [input: string | object, expected: RegExp]>> = {
    nothing: ['', /^expected a CredentialProviderRequest on standard input: kubelet runs this program$/],
    'what is no JSON': ['{"serviceAccountToken":"hunter2"', /^expected a CredentialProviderRequest/],
    'another kind': [{ ...type, kind: 'Status', image }, /^expected a CredentialProviderRequest/],
    'a list': ['[]', /^expected a CredentialProviderRequest/],
    'an older version': [
      { ...type, apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1', image },
      /^kubelet asks in credentialprovider\.kubelet\.k8s\.io\/v1beta1; write apiVersion: credentialprovider\.kubelet\.k8s\.io\/v1 for this provider/,
    ],
    'the oldest version': [
      { ...type, apiVersion: 'credentialprovider.kubelet.k8s.io/v1alpha1', image },
      /v1alpha1; write/,
    ],
    'a version nobody knows': [{ ...type, apiVersion: 'hunter2', image }, /^kubelet asks in another version/],
    'no image': [{ ...type, serviceAccountToken }, /names no image$/],
    'an image that is no text': [{ ...type, image: ['hunter2'] }, /names no image$/],
    'an endless image': [{ ...type, image: 'a'.repeat(2_000) }, /names no image$/],
    'a token that is no text': [{ ...type, image, serviceAccountToken: ['hunter2'] }, /not a text$/],
    'too much': ['a'.repeat(70_000), /is larger than 65536 bytes$/],
    'what kubelet cannot be given': [
      { ...type, image: 'token.example.com/app' },
      /^token\.example\.com\/app: its credential is an identityToken, and kubelet takes user names with passwords alone/,
    ],
    'what it cannot be given either': [{ ...type, image: 'bearer.example.com/app' }, /is a registryToken/],
    'a source that has not what it should': [
      { ...type, image: 'pod.example.com/app' },
      /^pod\.example\.com: kubernetes-token: .*ENOENT/,
    ],
  };
  for (const [what, [input, expected]] of Object.entries(cases)) {
    test(what, async (t) => {
      const text = typeof input === 'string' ? input : JSON.stringify(input);
      const told = await machineWith(t, rules).run([], text);
      assertFailed(told, 1, expected);
      assert.doesNotMatch(told.stderr, /hunter2|the-token/);
    });
  }

  test('a configuration: one line a problem, with code 2', async (t) => {
    const machine = machineWith(t, [{ match: '**', credentials: {} }, { match: 'a.example.com/**' }]);
    const { code, stdout, stderr } = await machine.ask(image);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(
      stderr,
      /^\S+config\.yaml:\d+:\d+: images\[0\]\.match: .*\n\S+: images\[1\]\.credentials: .*\n$/,
    );
    const absent = await runProvider(['credential-provider', '--config', '/nowhere'], requestFor(image));
    assertFailed(absent, 2, /^\/nowhere: cannot be read: ENOENT/);
  });

  test('credentials that are wrong are in the way of their own images alone', async (t) => {
    const wrong = { match: 'wrong.example.com/**', credentials: { type: 'static', usernam: 'x' } };
    const absent = {
      match: 'absent.example.com/**',
      credentials: { type: 'static', username: 'x', password: { file: 'not-there' } },
    };
    const machine = machineWith(t, [wrong, absent, ...rules]);
    assert.equal(authOf(await machine.ask(image)).auth[image]?.username, 'plain');
    const first = await machine.ask('wrong.example.com/app');
    assert.equal(first.code, 2);
    assert.match(first.stderr, /config\.yaml:\d+:\d+: images\[0\]\.credentials/);
    assertFailed(
      await machine.ask('absent.example.com/app'),
      2,
      /images\[1\]\.credentials\.password.*not-there/,
    );
  });

  test('a node that has no more than this needs no runtime, and what there is has to be right', async (t) => {
    const withRuntime = new ProviderMachine(t, [], { runtime: 'cri' });
    const { code, stderr } = await withRuntime.ask(image);
    assert.equal(code, 2);
    assert.match(stderr, /: runtime: expected a mapping/);
  });

  test('a source that takes for ever ends with the program', { timeout: 60_000 }, async (t) => {
    const command = ['slow'];
    const credentials = { type: 'exec', protocol: 'docker-credential-helper', command, timeout: '1m' };
    const machine = machineWith(t, [{ match: 'slow.example.com/**', credentials }]);
    machine.write('slow', '#!/bin/sh\nexec sleep 600\n', 0o700);
    const stop = new AbortController();
    const { HelperError } = await import('../../src/bin/one-question/helper-error.js');
    const asked = machine.run(['--allow', 'exec'], requestFor('slow.example.com/app'), {
      env: { PATH: process.env.PATH },
      stop,
    });
    setTimeout(() => stop.abort(new HelperError('ended by SIGTERM', 143)), 500);
    assertFailed(await asked, 143, /^ended by SIGTERM$/);
  });

  for (const [kind, credentials, place] of [
    ['exec', { type: 'exec', protocol: 'kubelet', command: ['provider'] }, 'type'],
    ['module', { module: './there-is-none.mjs' }, 'module'],
  ] as const) {
    test(`${kind}, which the command line does not allow; other rules go on`, async (t) => {
      const machine = machineWith(t, [
        { match: 'code.example.com/**', credentials },
        { match: 'plain.example.com/**', credentials: { type: 'anonymous' } },
      ]);
      const expected = new RegExp(
        `config\\.yaml:[1-9]\\d*:[1-9]\\d*: images\\[0\\]\\.credentials\\.${place}: .*--allow ${kind} lets it`,
      );
      assertFailed(await machine.ask('code.example.com/app'), 2, expected);
      assert.equal((await machine.ask('plain.example.com/app')).code, 0);
    });
  }

  for (const args of [
    ['--print-config', '--print-rbac'],
    ['--audience', 'a', '--print-config'],
  ]) {
    test(`${args.join(' ')}: one of them`, async (t) => {
      assertFailed(await machineWith(t, rules).run(args), 2, /expected one of them at most/);
    });
  }

  test('its own limit is below that of kubelet', async () => {
    const { usualPatience } = await import('../../src/bin/credential-provider/run.js');
    assert.ok(usualPatience <= 55_000, `${usualPatience} ms`);
  });
});

describe('how long kubelet keeps an answer', () => {
  const provider = (expiry: string) => `#!/bin/sh
cat > /dev/null
echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Image",${expiry}"auth":{"exec.example.com":{"username":"u","password":"p"}}}'
`;
  const credentials = { type: 'exec', protocol: 'kubelet', command: ['provider'] };
  const images = [{ match: 'exec.example.com/**', credentials }];
  for (const [what, expiry, least, most] of [
    ['half of its life', '"cacheDuration":"1h",', 1_790, 1_800],
    ['not at all', '"cacheDuration":"0s",', 0, 0],
  ] as const) {
    test(what, async (t) => {
      const machine = machineWith(t, images);
      machine.write('provider', provider(expiry), 0o700);
      const asked = await machine.ask('exec.example.com/app', {
        allow: 'exec',
        env: { PATH: process.env.PATH },
      });
      const { auth, cacheDuration } = authOf(asked);
      assert.deepEqual(auth, { 'exec.example.com/app': { username: 'u', password: 'p' } });
      assert.ok(cacheDuration >= least && cacheDuration <= most, `${cacheDuration} s`);
    });
  }

  test('a minute, where no rule is for it', async (t) => {
    assert.equal(authOf(await machineWith(t, images).ask('other.example.com/app')).cacheDuration, 60);
  });
});

describe('of several providers exactly one answers', () => {
  const images = [
    { match: 'docker.example.com/a/**', namespaces: ['a'], podIdentity: { audience: 'A' } },
    { match: 'docker.example.com/**', namespaces: ['b'], podIdentity: { audience: 'B' } },
    { match: 'docker.example.com/own/**', podIdentity: { audience: 'C' } },
    { match: 'docker.example.com/**', credentials: credentialsOf('node') },
    { match: 'other.example.com/**', credentials: credentialsOf('other') },
  ];
  const cases: readonly (readonly [image: string, namespace: string | undefined, expected: string])[] = [
    ['docker.example.com/a/x', 'a', 'pod A'],
    ['docker.example.com/a/x', 'b', 'pod B'],
    ['docker.example.com/a/x', 'c', 'node'],
    ['docker.example.com/a/x', undefined, 'node'],
    ['docker.example.com/x', 'a', 'node'],
    ['docker.example.com/x', 'b', 'pod B'],
    ['docker.example.com/x', undefined, 'node'],
    ['docker.example.com/own/x', 'b', 'pod B'],
    ['docker.example.com/own/x', 'c', 'pod C'],
    ['docker.example.com/own/x', undefined, ''],
    ['other.example.com/x', 'a', 'other'],
    ['other.example.com/x', undefined, 'other'],
    ['third.example.com/x', 'a', ''],
  ];
  for (const [image, namespace, expected] of cases) {
    test(`${image} for a pod of ${namespace ?? 'no ServiceAccount'}: ${expected || 'nothing'}`, async (t) => {
      const machine = machineWith(t, images);
      const config = await machine.run(['--print-config']);
      assert.equal(config.code, 0, config.stderr);
      const kubelet = new KubeletProviders(config.stdout, ({ args }, request) => runProvider(args, request));
      const pod =
        namespace === undefined
          ? undefined
          : { token: async (aud: string) => tokenOf({ aud: [aud] }, namespace) };
      const logins = await kubelet.loginsFor(image, pod);
      const shown = logins.map(({ username, password: secret }) => {
        const envelope = proofIn(secret);
        if (envelope === undefined || !('proof' in envelope)) return username;
        const claims = Buffer.from(envelope.proof.split('.')[1] ?? '', 'base64url').toString();
        return `pod ${(JSON.parse(claims) as { aud: string[] }).aud.join()}`;
      });
      assert.deepEqual(shown, expected === '' ? [] : [expected]);
    });
  }
});
