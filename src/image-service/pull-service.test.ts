import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import type { ImagePullEvent } from '../contracts/audit.js';
import type { Credential, CredentialSource, CredentialTarget } from '../contracts/credential-source.js';
import { RegistryError } from '../errors.js';
import { parseImagePattern } from '../settings/image-pattern.js';
import { NamePattern } from '../settings/name-pattern.js';
import { FakeClock } from '../testing/fake-clock.js';
import { basicCredential, FakeCredentialSource } from '../testing/fake-credential-source.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { type CredentialRule, CredentialRules } from './credential-rules.js';
import type { AttemptOptions, PullFault, PullOutcome } from './pull-attempt.js';
import { PullRegister } from './pull-register.js';
import type { PullRequest } from './pull-request.js';
import { PullService } from './pull-service.js';

const never = new AbortController().signal;
const pod = { namespace: 'shop', name: 'cart-1', uid: 'u-1' };
const [first, second] = [
  basicCredential('robot', 'first-secret-7f3a'),
  basicCredential('robot', 'second-secret-9c1d'),
];

/** What an attempt comes to. */
type Step = 'ok' | PullFault;

interface World {
  readonly rules?: readonly CredentialRule[];
  readonly steps?: readonly Step[];
  readonly said?: string;
  readonly timeout?: number;
  readonly tellsProgress?: boolean;
  readonly onAttempt?: (o: AttemptOptions) => Promise<void>;
}

function ruleFor(source: CredentialSource, more: Partial<CredentialRule> = {}): CredentialRule {
  const match = parseImagePattern('docker.example.com/**');
  assert.ok(match, 'a pattern');
  return { name: match.text, match, credentials: { type: 'aws-identity', source }, ...more };
}

function open({
  rules = [],
  steps = ['ok'],
  said = 'it says no',
  timeout = 10_000,
  tellsProgress = false,
  onAttempt,
}: World) {
  const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
  const register = new PullRegister({ clock });
  const events: ImagePullEvent[] = [];
  const audit = { record: (event: unknown) => void events.push(event as ImagePullEvent) };
  const parts = { register, clock, log, metrics, audit, credentialTimeout: timeout, tellsProgress };
  const service = new PullService({ ...parts, rules: new CredentialRules(rules) });
  const shown: (string | undefined)[] = [];
  const attempt = async (o: AttemptOptions): Promise<PullOutcome<number>> => {
    const step = steps[shown.length] ?? 'other';
    shown.push(o.credential?.kind === 'basic' ? o.credential.password.reveal() : undefined);
    clock.advance(1000);
    await onAttempt?.(o);
    const answer = shown.length;
    if (step === 'ok') return { ok: true, answer, imageRef: 'sha256:1' };
    return { ok: false, answer, fault: step, status: 2, said };
  };
  const pull = (more: Partial<PullRequest> = {}, signal = never) =>
    service.pull(
      {
        image: 'docker.example.com/team/app:1',
        pod,
        annotations: new Map(),
        hasOwnCredential: false,
        ...more,
      },
      attempt,
      { signal },
    );
  const everything = () =>
    [log.text, metrics.text, JSON.stringify(events), JSON.stringify(register.snapshot())].join('\n');
  return { pull, shown, clock, log, metrics, register, events, everything };
}

const [one, two] = ['first-secret-7f3a', 'second-secret-9c1d'];

describe('the attempts of a pull', () => {
  interface Case {
    readonly what: string;
    /** What the rule's source gives; absent: there is no rule. */
    readonly gives?: readonly Credential[];
    readonly own?: true;
    readonly steps: readonly Step[];
    readonly shown: readonly (string | undefined)[];
    /** Which of the attempts is told. */
    readonly told: number;
    readonly credential: ImagePullEvent['credential'];
    readonly result: ImagePullEvent['result'];
  }
  const none = undefined;
  const refusals = { credential: 'rule', result: 'refused' } as const;
  const cases: readonly Case[] = [
    { what: 'no rule', steps: ['ok'], shown: [none], told: 1, credential: 'none', result: 'ok' },
    {
      what: 'no rule, refused',
      steps: ['unauthorized'],
      shown: [none],
      told: 1,
      credential: 'none',
      result: 'refused',
    },
    {
      what: 'a rule',
      gives: [first],
      steps: ['ok'],
      shown: [one],
      told: 1,
      credential: 'rule',
      result: 'ok',
    },
    {
      what: 'a source without',
      gives: [],
      steps: ['ok'],
      shown: [none],
      told: 1,
      credential: 'none',
      result: 'ok',
    },
    {
      what: 'own',
      gives: [first],
      own: true,
      steps: ['ok'],
      shown: [none],
      told: 1,
      credential: 'kubelet',
      result: 'ok',
    },
    {
      what: 'own, refused',
      gives: [first],
      own: true,
      steps: ['unauthorized'],
      shown: [none],
      told: 1,
      credential: 'kubelet',
      result: 'refused',
    },
    {
      what: 'refused, and another is good',
      gives: [first, second],
      steps: ['unauthorized', 'ok'],
      shown: [one, two],
      told: 2,
      credential: 'rule',
      result: 'ok',
    },
    {
      what: 'refused, no other, public',
      gives: [first],
      steps: ['unauthorized', 'ok'],
      shown: [one, none],
      told: 2,
      credential: 'none',
      result: 'ok',
    },
    {
      what: 'refused, another refused, public',
      gives: [first, second],
      steps: ['unauthorized', 'unauthorized', 'ok'],
      shown: [one, two, none],
      told: 3,
      credential: 'none',
      result: 'ok',
    },
    {
      what: 'refused, another denied, not public',
      gives: [first, second],
      steps: ['unauthorized', 'denied', 'unauthorized'],
      shown: [one, two, none],
      told: 2,
      ...refusals,
    },
    {
      what: 'refused, no other, not public',
      gives: [first],
      steps: ['unauthorized', 'denied'],
      shown: [one, none],
      told: 1,
      ...refusals,
    },
    {
      what: 'denied, public',
      gives: [first, second],
      steps: ['denied', 'ok'],
      shown: [one, none],
      told: 2,
      credential: 'none',
      result: 'ok',
    },
    {
      what: 'denied',
      gives: [first, second],
      steps: ['denied', 'denied'],
      shown: [one, none],
      told: 1,
      ...refusals,
    },
    {
      what: 'not found, public',
      gives: [first],
      steps: ['not found', 'ok'],
      shown: [one, none],
      told: 2,
      credential: 'none',
      result: 'ok',
    },
    {
      what: 'not found',
      gives: [first],
      steps: ['not found', 'unauthorized'],
      shown: [one, none],
      told: 1,
      credential: 'rule',
      result: 'failed',
    },
    ...(
      ['rate limited', 'registry', 'runtime', 'signature', 'full', 'stalled', 'stopped', 'other'] as const
    ).map(
      (fault): Case => ({
        what: `${fault}: once`,
        gives: [first, second],
        steps: [fault, 'ok'],
        shown: [one],
        told: 1,
        credential: 'rule',
        result: 'failed',
      }),
    ),
    {
      what: 'refused, and another hits something else',
      gives: [first, second],
      steps: ['unauthorized', 'rate limited', 'ok'],
      shown: [one, two],
      told: 2,
      credential: 'rule',
      result: 'failed',
    },
  ];
  for (const { what, gives, own, steps, shown, told, credential, result } of cases) {
    test(what, async () => {
      const rules = gives ? [ruleFor(new FakeCredentialSource(gives))] : [];
      const world = open({ rules, steps });
      const { outcome } = await world.pull({ hasOwnCredential: own === true });
      assert.deepEqual(world.shown, shown);
      assert.equal(outcome.answer, told);
      const [event] = world.events;
      assert.deepEqual([event?.credential, event?.result, world.events.length], [credential, result, 1]);
      assert.equal(event?.duration, shown.length * 1000);
      assert.equal(world.metrics.value('image_pulls_total', { result, credential }), 1);
      assert.equal(world.metrics.observed('image_pull_duration_seconds', { result })[0], shown.length);
      const [ended] = world.register.snapshot().recent;
      assert.deepEqual([ended?.credential, ended?.attempt], [credential, shown.length]);
      assert.equal(world.metrics.value('image_pulls_running'), 0);
    });
  }

  test('the source is told what was refused, and what was taken', async () => {
    const source = new FakeCredentialSource([first, second]);
    const accepted: Credential[] = [];
    const told = Object.assign(source, { accepted: (credential: Credential) => accepted.push(credential) });
    await open({ rules: [ruleFor(told)], steps: ['unauthorized', 'ok'] }).pull();
    const target: CredentialTarget = source.asked[0]?.target as CredentialTarget;
    assert.deepEqual({ ...target }, { registry: 'docker.example.com', name: 'team/app' });
    assert.deepEqual(
      source.asked.map(({ rejected }) => rejected),
      [undefined, first],
    );
    assert.deepEqual(accepted, [second]);
  });

  test('the same again is not shown again', async () => {
    const source = { credentialFor: async () => basicCredential('robot', one), close: async () => {} };
    const world = open({ rules: [ruleFor(source)], steps: ['unauthorized', 'ok'] });
    await world.pull();
    assert.deepEqual(world.shown, [one, undefined]);
  });

  test('a source that breaks over what was taken is no reason to fail', async () => {
    const source = Object.assign(new FakeCredentialSource([first]), {
      accepted: () => {
        throw new Error('broken');
      },
    });
    assert.equal((await open({ rules: [ruleFor(source)] }).pull()).outcome.ok, true);
  });

  test('a rule without credentials asks nobody', async () => {
    const { credentials: _, ...rule } = ruleFor(new FakeCredentialSource());
    const world = open({ rules: [rule] });
    await world.pull();
    assert.deepEqual(world.shown, [undefined]);
    assert.equal(world.log.at('warn').length, 0);
  });
});

describe('a source that gives nothing', () => {
  const noticesNothing = (answer: () => Promise<Credential | undefined>): CredentialSource => ({
    credentialFor: answer,
    close: async () => {},
  });
  const cases: readonly (readonly [
    what: string,
    source: CredentialSource,
    reason: RegExp,
    isFailure: boolean,
  ])[] = [
    ['has none', noticesNothing(async () => undefined), /has none/, false],
    [
      'is broken',
      Object.assign(new FakeCredentialSource([first]), { broken: true }),
      /source is broken/,
      true,
    ],
    ['never answers', noticesNothing(() => new Promise(() => {})), /did not answer within 0\.05 s/, true],
    [
      'throws at once',
      noticesNothing(() => {
        throw new TypeError('a bug');
      }),
      /a bug/,
      true,
    ],
  ];
  for (const [what, source, reason, isFailure] of cases) {
    test(`${what}: the image is asked for without, and somebody is told`, async () => {
      const world = open({ rules: [ruleFor(source)], timeout: 50 });
      const { outcome, advice } = await world.pull();
      assert.deepEqual([outcome.ok, advice, world.shown], [true, undefined, [undefined]]);
      const [warning] = world.log.at('warn');
      assert.match(String(warning?.fields.reason), reason);
      const failures = world.metrics.value('image_pull_credential_failures_total', {
        rule: 'docker.example.com/**',
      });
      assert.equal(failures, isFailure ? 1 : 0);
      assert.equal(world.events[0]?.rule, 'docker.example.com/**');
    });
  }

  test('gives one too late, or fails too late: nobody is hurt', async () => {
    const late = noticesNothing(async () => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      throw new Error('late');
    });
    const world = open({ rules: [ruleFor(late)], timeout: 20 });
    await world.pull();
    await new Promise((resolve) => setTimeout(resolve, 80));
    assert.deepEqual(world.shown, [undefined]);
  });

  test('all questions of a pull together have the time of one', { timeout: 20_000 }, async () => {
    const limits: number[] = [];
    const started = Date.now();
    const world = open({
      rules: [
        ruleFor({
          credentialFor: (_, { signal, rejected }) => {
            if (rejected === undefined) {
              world.clock.advance(60_000);
              return Promise.resolve(first);
            }
            return new Promise((_resolve, reject) => {
              signal.addEventListener('abort', () => {
                limits.push(Date.now() - started);
                reject(signal.reason);
              });
            });
          },
          close: async () => {},
        }),
      ],
      steps: ['unauthorized', 'ok'],
      timeout: 60_000,
    });
    await world.pull();
    assert.equal(limits.length, 1);
    assert.deepEqual(world.shown, [one, undefined]);
  });
});

describe('a pull that nobody waits for any more', () => {
  for (const [what, when] of [
    ['in an attempt', 'attempt'],
    ['while its credential is asked for', 'asking'],
  ] as const) {
    test(what, async () => {
      const left = new AbortController();
      const leave = () => left.abort(new Error('kubelet has gone'));
      const source: CredentialSource = {
        credentialFor: async () => {
          if (when === 'asking') {
            leave();
            return new Promise(() => {});
          }
          return first;
        },
        close: async () => {},
      };
      const onAttempt = async () => {
        leave();
        left.signal.throwIfAborted();
      };
      const world = open({ rules: [ruleFor(source)], onAttempt });
      await assert.rejects(world.pull({}, left.signal), /kubelet has gone/);
      assert.deepEqual([world.events[0]?.result, world.events[0]?.status], ['failed', 1]);
      assert.equal(world.register.running, 0);
      assert.match(
        String(world.register.snapshot().recent[0]?.error),
        /^given up after [01] s: kubelet has gone$/,
      );
    });
  }

  for (const [what, tellsProgress, bytes, expected] of [
    ['nothing came', true, undefined, /2\.5 s: its time is over; the registry had sent nothing of it$/],
    ['no byte came', false, 0, /2\.5 s: its time is over; the registry had sent nothing of it$/],
    ['something came', true, 5, /2\.5 s: its time is over$/],
    ['nobody knows what came', false, undefined, /2\.5 s: its time is over$/],
  ] as const) {
    test(`${what}: it is told where it is known`, async () => {
      const left = new AbortController();
      const world = open({
        tellsProgress,
        onAttempt: async ({ onProgress }) => {
          if (bytes !== undefined) onProgress({ bytes, layers: { done: 0, total: 1 } });
          world.clock.advance(1500);
          left.abort(new Error('its time is over'));
          left.signal.throwIfAborted();
        },
      });
      await assert.rejects(world.pull({}, left.signal), /its time is over/);
      assert.match(String(world.events[0]?.reason), expected);
    });
  }

  test('before it began leaves no trace', async () => {
    const world = open({});
    await assert.rejects(world.pull({}, AbortSignal.abort(new Error('gone'))), /gone/);
    assert.deepEqual([world.events.length, world.log.lines.length], [0, 0]);
  });

  test('is not tried without a credential', async () => {
    const left = new AbortController();
    const onAttempt = async () => left.abort(new Error('gone'));
    const world = open({
      rules: [ruleFor(new FakeCredentialSource([first]))],
      steps: ['denied', 'ok'],
      onAttempt,
    });
    await assert.rejects(world.pull({}, left.signal), /gone/);
    assert.deepEqual(world.shown, [one]);
  });

  test('an attempt that breaks is told, and ends', async () => {
    const world = open({
      onAttempt: async () => {
        throw new Error('a bug of ours');
      },
    });
    await assert.rejects(world.pull(), /a bug of ours/);
    assert.equal(world.register.running, 0);
    assert.deepEqual([world.events[0]?.result, world.events[0]?.status], ['failed', 2]);
  });
});

describe('what a pull says', () => {
  test('at its beginning, every ten seconds, and at its end', async (t) => {
    mock.timers.enable({ apis: ['setInterval'] });
    t.after(() => mock.timers.reset());
    const world = open({
      rules: [ruleFor(new FakeCredentialSource([first]))],
      onAttempt: async ({ onProgress }) => {
        onProgress({ bytes: 1024, layers: { done: 1, total: 4 } });
        world.clock.advance(10_000);
        mock.timers.tick(10_000);
        onProgress({ bytes: 4096, layers: { done: 4, total: 4 } });
      },
    });
    await world.pull();
    mock.timers.tick(60_000);
    const fixed = {
      image: 'docker.example.com/team/app:1',
      namespace: 'shop',
      pod: 'cart-1',
      rule: 'docker.example.com/**',
      source: 'aws-identity',
    };
    assert.deepEqual(world.log.entries, [
      { level: 'info', message: 'a pull begins', fields: fixed },
      {
        level: 'info',
        message: 'a pull goes on',
        fields: { ...fixed, state: 'pulling', seconds: 11, bytes: 1024, layers: '1/4' },
      },
      {
        level: 'info',
        message: 'pulled',
        fields: {
          ...fixed,
          credential: 'rule',
          imageRef: 'sha256:1',
          seconds: 11,
          bytes: 4096,
          layers: '4/4',
        },
      },
    ]);
    assert.deepEqual(world.events, [
      {
        event: 'image-pull',
        result: 'ok',
        image: 'docker.example.com/team/app:1',
        namespace: 'shop',
        pod: 'cart-1',
        podUid: 'u-1',
        credential: 'rule',
        rule: 'docker.example.com/**',
        source: 'aws-identity',
        imageRef: 'sha256:1',
        duration: 11_000,
        bytes: 4096,
        status: 0,
      },
    ]);
  });

  test('the image was to be had without the credential that was refused', async () => {
    const world = open({
      rules: [ruleFor(new FakeCredentialSource([first]))],
      steps: ['unauthorized', 'ok'],
    });
    await world.pull();
    const [warning] = world.log.at('warn');
    assert.match(
      String(warning?.message),
      /did not take the credential of a rule, and the image is to be had/,
    );
    assert.equal(warning?.fields.refused, 'unauthorized');
  });

  for (const steps of [
    ['not found', 'not found'],
    ['not found', 'ok'],
  ] as const) {
    test(`a tag that is ${steps.join(', then ')}: nothing is said of a refusal`, async () => {
      const world = open({ rules: [ruleFor(new FakeCredentialSource([first]))], steps });
      await world.pull();
      assert.doesNotMatch(world.log.text, /did not take the credential/);
    });
  }

  test('never a secret, whatever the runtime says', async () => {
    const said = `refused robot:${one} at https://u:p4ssw0rd@s3.test/l?X-Amz-Signature=5igned ${two}\nwith ${Buffer.from(`robot:${two}`).toString('base64')}`;
    const source = new FakeCredentialSource([first, second]);
    const world = open({ rules: [ruleFor(source)], steps: ['unauthorized', 'unauthorized', 'denied'], said });
    const { advice } = await world.pull();
    const text = `${world.everything()}\n${advice}`;
    for (const secret of [one, two, 'p4ssw0rd', '5igned', Buffer.from(`robot:${two}`).toString('base64')]) {
      assert.ok(!text.includes(secret), `${secret} in ${text}`);
    }
    assert.ok(text.includes('https://s3.test/l?…'), 'the rest is told');
  });

  test('never a secret of a source that tells one', async () => {
    const source: CredentialSource = {
      credentialFor: async (_, { rejected }) => {
        if (rejected === undefined) return first;
        throw new Error(`no other than ${one}`);
      },
      close: async () => {},
    };
    const world = open({ rules: [ruleFor(source)], steps: ['unauthorized', 'unauthorized'] });
    const { advice } = await world.pull();
    assert.ok(!`${world.everything()}\n${advice}`.includes(one), world.everything());
    assert.ok(world.log.text.includes('no other than [secret]'), world.log.text);
  });

  test('what kubelet was told is in the register and the audit log', async () => {
    const world = open({ steps: ['denied'], said: 'insufficient_scope' });
    const { advice } = await world.pull();
    const told = `insufficient_scope; kubelet-image-service: ${advice}`;
    assert.equal(world.register.snapshot().recent[0]?.error, told);
    assert.equal(world.events[0]?.reason, told);
    assert.equal(world.events[0]?.status, 2);
  });
});

describe('the advice for a pod event', () => {
  const rule = ruleFor({ credentialFor: async () => first, close: async () => {} });
  const narrow = { ...rule, namespaces: [new NamePattern('ops')] };
  const empty = ruleFor(new FakeCredentialSource([]));
  const { credentials: _, ...bare } = rule;
  interface Case {
    readonly what: string;
    readonly rules?: readonly CredentialRule[];
    readonly steps: readonly Step[];
    readonly request?: Partial<PullRequest>;
    readonly said?: string;
    readonly advice: RegExp | undefined;
  }
  const failing = ruleFor({
    credentialFor: async () => {
      throw new RegistryError('UNAVAILABLE', { reason: 'the program /bin/get says no' });
    },
    close: async () => {},
  });
  const own = { hasOwnCredential: true };
  const cases: readonly Case[] = [
    {
      what: "the rule's credential is refused",
      rules: [rule],
      steps: ['unauthorized', 'unauthorized'],
      advice:
        /^the registry docker\.example\.com refused the credential of rule 'docker\.example\.com\/\*\*' \(aws-identity\): check what its source gives/,
    },
    {
      what: "the rule's credential may not",
      rules: [rule],
      steps: ['denied', 'unauthorized'],
      advice:
        /^the registry docker\.example\.com denies the image to the credential of rule .* \(aws-identity\): check/,
    },
    {
      what: 'and without it something else fails',
      rules: [rule],
      steps: ['denied', 'full'],
      advice: /without it the pull failed too \(full\)$/,
    },
    {
      what: 'not found with the credential',
      rules: [rule],
      steps: ['not found', 'not found'],
      advice: /has no such image for the credential of rule/,
    },
    {
      what: 'the source had none',
      rules: [empty],
      steps: ['unauthorized'],
      advice:
        /^no credential from aws-identity \(rule 'docker\.example\.com\/\*\*'\): it has none for this image; the image was asked for without$/,
    },
    {
      what: 'the source had none, not found',
      rules: [empty],
      steps: ['not found'],
      advice: /^no credential from/,
    },
    {
      what: 'no rule',
      steps: ['denied'],
      advice:
        /^no rule of kubelet-image-service matches docker\.example\.com\/team\/app: add one, or give the pod an imagePullSecret$/,
    },
    {
      what: 'a rule for other pods',
      rules: [narrow],
      steps: ['denied'],
      advice: /not for this pod: see its namespaces/,
    },
    {
      what: 'a short name',
      rules: [rule],
      steps: ['unauthorized'],
      request: { image: 'busybox' },
      advice: /name it in full/,
    },
    {
      what: 'a rule without credentials',
      rules: [bare],
      steps: ['denied'],
      advice: /has no credential for it: give it one/,
    },
    {
      what: 'own, refused, where a rule would do',
      rules: [rule],
      steps: ['unauthorized'],
      request: own,
      advice: /imagePullSecret .* was refused: correct or remove it; without one, rule .* applies$/,
    },
    {
      what: 'own, refused',
      steps: ['denied'],
      request: own,
      advice: /imagePullSecret .* was refused: correct it$/,
    },
    { what: 'own, not found', steps: ['not found'], request: own, advice: undefined },
    {
      what: 'limited as nobody',
      steps: ['rate limited'],
      advice: /without a credential; kubelet tries again/,
    },
    { what: 'limited', rules: [rule], steps: ['rate limited'], advice: /limits how much is pulled; kubelet/ },
    {
      what: 'registry',
      steps: ['registry'],
      advice: /docker\.example\.com cannot be reached from this node/,
    },
    {
      what: 'a registry that is broken',
      steps: ['registry'],
      said: 'unexpected status from HEAD request to https://r/v2/: 500 Internal Server Error',
      advice: /^the registry docker\.example\.com is not well: look there first/,
    },
    {
      what: 'an empty credential of kubelet',
      steps: ['unauthorized'],
      request: { hasOwnCredential: true, isOwnEmpty: true },
      advice: /^kubelet sent an empty credential.*, and it was refused: correct it$/,
    },
    {
      what: 'a source that fails with a code',
      rules: [failing],
      steps: ['unauthorized'],
      advice: /\): the program \/bin\/get says no; the image was asked for without$/,
    },
    { what: 'runtime', steps: ['runtime'], advice: /container runtime of this node does not answer/ },
    { what: 'full', steps: ['full'], advice: /no space left/ },
    { what: 'stalled', steps: ['stalled'], advice: /nothing came from/ },
    { what: 'stopped', steps: ['stopped'], advice: /gave up by itself/ },
    { what: 'signature', steps: ['signature'], advice: undefined },
    { what: 'other', steps: ['other'], advice: undefined },
    { what: 'not found', steps: ['not found'], advice: undefined },
    { what: 'no reference', steps: ['denied'], request: { image: 'UPPER' }, advice: undefined },
  ];
  for (const { what, rules = [], steps, request, said = 'it says no', advice } of cases) {
    test(what, async () => {
      const given = await open({ rules, steps, said }).pull(request);
      if (advice === undefined) assert.equal(given.advice, undefined);
      else assert.match(String(given.advice), advice);
    });
  }

  test('is bounded, and one line', async () => {
    const broken: CredentialSource = {
      credentialFor: async () => {
        throw new Error('why\n'.repeat(1000));
      },
      close: async () => {},
    };
    const long = { ...ruleFor(broken), name: 'n'.repeat(500) };
    const { advice } = await open({ rules: [long], steps: ['denied'] }).pull();
    assert.ok(advice !== undefined && advice.length <= 300, advice);
    assert.ok(!advice.includes('\n'), 'two lines');
  });
});
