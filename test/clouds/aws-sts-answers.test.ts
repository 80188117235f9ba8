import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Verifier } from '../../src/contracts/index.js';
import { owner } from './harness/aws-identities.js';
import { refusalOf, roleArn, type StsHouse, sessionArn, startStsHouse, verify } from './harness/sts-house.js';
import type { Exchange } from './harness/world.js';

// What STS, or whoever answers in its place, may say: only one form of answer is an identity, only STS's own refusal is one.

const caller = { Account: owner, Arn: sessionArn, UserId: 'AROAEXAMPLEEXAMPLE123:i-0123456789abcdef0' };
const wrapped = (result: unknown) => ({ GetCallerIdentityResponse: { GetCallerIdentityResult: result } });
const of = (changed: object) => JSON.stringify(wrapped({ ...caller, ...changed }));
const whole = of({});

async function answered(
  t: TestContext,
  answer: (exchange: Exchange) => void,
): Promise<{ readonly asked: Promise<unknown>; readonly house: Awaited<ReturnType<typeof startStsHouse>> }> {
  const house = await startStsHouse(t);
  const verifier = await house.verifier({ timeout: '1s' });
  const proof = await house.proof();
  house.world.intercept((exchange) => {
    answer(exchange);
    return true;
  });
  return { asked: verify(verifier, proof), house };
}

const json = { 'content-type': 'application/json' };

describe('an answer of STS', () => {
  test('that is whole counts', async (t) => {
    const { asked } = await answered(t, (exchange) => exchange.text(200, whole, json));
    assert.equal(((await asked) as { name: string }).name, roleArn);
  });

  const nobody: Readonly<Record<string, string>> = {
    'of two accounts': `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"999999999999","Account":"${owner}","Arn":"${sessionArn}","UserId":"A:b"}}}`,
    'of the same account twice': whole.replace('"Account"', `"Account":"${owner}","Account"`),
    'of two results': whole.replace(
      '{"GetCallerIdentityResult"',
      '{"GetCallerIdentityResult":{},"GetCallerIdentityResult"',
    ),
    'with a second ARN that is escaped': whole.replace('"UserId"', `"\\u0041rn":"${sessionArn}","UserId"`),
    'that is an array': `[${whole}]`,
    'with an array of results': JSON.stringify(wrapped([caller])),
    'with an account in an array': of({ Account: [owner] }),
    'with an account as a number': of({ Account: Number(owner) }),
    'with more in the result': of({ Role: 'x' }),
    'without an account': of({ Account: undefined }),
    'without an ARN': of({ Arn: undefined }),
    'without a user id': of({ UserId: undefined }),
    'with an ARN of another account': of({ Arn: sessionArn.replace(owner, '999999999999') }),
    'with an ARN of another partition': of({ Arn: sessionArn.replace('arn:aws:', 'arn:aws-cn:') }),
    'with an ARN of another service': of({ Arn: sessionArn.replace(':sts:', ':s3:') }),
    'with an ARN in an ARN': of({ Arn: ` ${sessionArn}` }),
    'with an account of 13 digits': of({ Account: `${owner}0` }),
    'of another action': JSON.stringify({ GetSessionTokenResponse: { GetCallerIdentityResult: caller } }),
    'in XML': `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>${sessionArn}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`,
    'that is a page': '<!DOCTYPE html><html><body>Welcome</body></html>',
    'that is empty': '',
    'that is null': 'null',
    'that ends early': whole.slice(0, -2),
    'with something behind it': `${whole}{}`,
    'that is an error with 200': '{"Error":{"Code":"SignatureDoesNotMatch"}}',
  };
  for (const [name, text] of Object.entries(nobody)) {
    test(`${name} is nobody's`, async (t) => {
      const { asked, house } = await answered(t, (exchange) => exchange.text(200, text, json));
      const reason = await refusalOf(asked, house.identities.secrets, 'UNAVAILABLE');
      assert.equal(reason, 'STS in eu-west-1 answered something that is no caller identity');
    });
  }

  const error = (Code: string) => JSON.stringify({ Error: { Code, Message: 'a secret', Type: 'Sender' } });
  const xml = (code: string) =>
    `<?xml version="1.0"?>\n<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n    <Type>Sender</Type>\n    <Code>${code}</Code>\n  </Error></ErrorResponse>`;
  type Row = readonly [status: number, text: string, code: 'UNAUTHORIZED' | 'UNAVAILABLE', says: RegExp];
  const rows: Readonly<Record<string, Row>> = {
    'a wrong signature': [
      403,
      error('SignatureDoesNotMatch'),
      'UNAUTHORIZED',
      /403 SignatureDoesNotMatch: it was changed/,
    ],
    'a session that has ended': [
      403,
      error('ExpiredToken'),
      'UNAUTHORIZED',
      /403 ExpiredToken: .* credentials have ended/,
    ],
    'keys that are unknown': [
      403,
      error('InvalidClientTokenId'),
      'UNAUTHORIZED',
      /403 InvalidClientTokenId: AWS does not know/,
    ],
    'something else that STS has a name for': [
      400,
      error('IncompleteSignature'),
      'UNAUTHORIZED',
      /400 IncompleteSignature$/,
    ],
    'a refusal in XML': [403, xml('ExpiredToken'), 'UNAUTHORIZED', /403 ExpiredToken/],
    'throttling by 400': [400, error('Throttling'), 'UNAVAILABLE', /answered 400 Throttling$/],
    'throttling in XML': [
      400,
      xml('ThrottlingException'),
      'UNAVAILABLE',
      /answered 400 ThrottlingException$/,
    ],
    'throttling by 429': [429, '', 'UNAVAILABLE', /answered 429$/],
    'an outage': [503, error('ServiceUnavailable'), 'UNAVAILABLE', /answered 503 ServiceUnavailable$/],
    'a failure': [500, '', 'UNAVAILABLE', /answered 500$/],
    'a proxy that forbids it': [
      403,
      '<html>Forbidden</html>',
      'UNAVAILABLE',
      /403, and not as STS does: is there a proxy/,
    ],
    'a proxy that asks who we are': [407, '', 'UNAVAILABLE', /407, and not as STS does/],
    'an error that is no name': [403, error('<script>'), 'UNAVAILABLE', /403, and not as STS does/],
    'XML of something else': [
      403,
      xml('ExpiredToken').replace('sts.amazonaws', 's3.amazonaws'),
      'UNAVAILABLE',
      /not as STS/,
    ],
    'nothing there': [404, error('NoSuchBucket'), 'UNAVAILABLE', /404, and not as STS does/],
    'an identity with 201': [201, whole, 'UNAVAILABLE', /answered 201/],
  };
  for (const [name, [status, text, code, says]] of Object.entries(rows)) {
    test(`with ${status} for ${name}: ${code}`, async (t) => {
      const { asked, house } = await answered(t, (exchange) => exchange.text(status, text, json));
      const reason = await refusalOf(asked, [...house.identities.secrets, 'a secret'], code);
      assert.match(reason, says);
      assert.match(reason, /STS in eu-west-1 answered/);
    });
  }

  test('that leads elsewhere is not followed', async (t) => {
    const { asked, house } = await answered(t, (exchange) =>
      exchange.text(307, '', { location: 'https://evil.example.com/' }),
    );
    const reason = await refusalOf(asked, house.identities.secrets, 'UNAVAILABLE');
    assert.match(reason, /answered 307; redirects are not followed/);
    assert.deepEqual([house.world.requests.length, house.world.unknownNames], [1, []]);
  });

  test('that does not come is UNAVAILABLE, and so is STS that is not there', async (t) => {
    const { asked, house } = await answered(t, () => {});
    assert.match(
      await refusalOf(asked, house.identities.secrets, 'UNAVAILABLE'),
      /no answer from sts\.eu-west-1/,
    );
    house.world.remove(house.sts.host);
    const again = verify(await house.verifier(), await house.proof());
    assert.match(
      await refusalOf(again, house.identities.secrets, 'UNAVAILABLE'),
      /no answer from sts\.eu-west-1/,
    );
  });

  test('that is endless is UNAVAILABLE', async (t) => {
    const { asked, house } = await answered(t, ({ response }) => {
      response.writeHead(200, json);
      response.end(Buffer.alloc(2 * 1024 * 1024, ' '));
    });
    await refusalOf(asked, house.identities.secrets, 'UNAVAILABLE');
  });
});

const marked = 'AKIAMADEUP123456';
const madeUp = (proof: string, region = 'eu-west-1') =>
  proof
    .replace(/X-Amz-Credential=\w+/, `X-Amz-Credential=${marked}`)
    .replace('%2Feu-west-1%2F', `%2F${region}%2F`);

/** Holds requests that nobody signed. */
async function startHolding(t: TestContext) {
  const house = await startStsHouse(t);
  const waiting: (() => void)[] = [];
  const seen = { held: 0, most: 0 };
  house.world.intercept(async ({ url }) => {
    if (url.searchParams.get('X-Amz-Credential')?.startsWith(marked) !== true) return false;
    seen.held++;
    seen.most = Math.max(seen.most, seen.held);
    await new Promise<void>((resolve) => waiting.push(resolve));
    seen.held--;
    return false;
  });
  const until = async (isSo: () => boolean) => {
    const deadline = Date.now() + 20_000;
    while (!isSo() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(isSo(), `${seen.held} are held`);
  };
  /** Lets all of them go, and waits for them. */
  const end = async (asked: readonly Promise<unknown>[]) => {
    let isOver = false;
    const all = Promise.allSettled(asked).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      for (const release of waiting.splice(0)) release();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await all;
  };
  return { house, waiting, seen, until, end };
}

describe('made-up requests', () => {
  test('wait for each other, and keep another network waiting for one turn only', async (t) => {
    const { house, waiting, seen, until, end } = await startHolding(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    assert.ok(await verify(verifier, proof, '203.0.113.7'), 'the region is there');
    const wrong = Array.from({ length: 40 }, (_, i) =>
      verify(verifier, madeUp(proof), `198.51.100.${i}`).catch((e) => e),
    );
    await until(() => waiting.length >= 16);
    const good = verify(verifier, proof, '203.0.113.7');
    waiting.shift()?.();
    assert.ok(await good, 'it waits for all of them');
    await end(wrong);
    assert.equal(seen.most, 16);
  });

  // Numbers that AWS has not got to; here they are hosts that do not answer.
  const numbers = Array.from({ length: 30 }, (_, i) => i + 50);
  function askMadeUp(house: StsHouse, verifier: Verifier, proof: string, address: (i: number) => string) {
    house.world.host(
      numbers.map((number) => `sts.us-west-${number}.amazonaws.com`),
      ({ text }) => text(404, ''),
    );
    return numbers.map((number, i) =>
      verify(verifier, madeUp(proof, `us-west-${number}`), address(i)).catch((e) => e),
    );
  }

  test('for made-up regions take no turn from those for regions that there are', async (t) => {
    const { house, seen, until, end } = await startHolding(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    assert.ok(await verify(verifier, proof, '203.0.113.7'), 'the region is there');
    const wrong = askMadeUp(house, verifier, proof, (i) => `198.51.${i}.1`);
    await until(() => seen.held === 2);
    for (let i = 0; i < 20; i++) assert.ok(await verify(verifier, proof, '203.0.113.7'), 'it waits');
    assert.equal(seen.held, 2);
    assert.equal(new Set(house.world.requests.map(({ host }) => host)).size, 3, 'more were looked up');
    await end(wrong);
    assert.equal(seen.most, 2);
  });

  test('keep another network waiting for one turn where its region has not answered yet', async (t) => {
    const { house, seen, until, end, waiting } = await startHolding(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    const wrong = askMadeUp(house, verifier, proof, (i) => `198.51.100.${i}`);
    await until(() => seen.held === 2);
    const good = verify(verifier, proof, '203.0.113.7');
    waiting.shift()?.();
    assert.ok(await good, 'it waits for all of them');
    await end(wrong);
  });

  test('go on 16 at once as soon as the region has answered one', async (t) => {
    const { house, seen, until, end, waiting } = await startHolding(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    const wrong = Array.from({ length: 40 }, (_, i) =>
      verify(verifier, madeUp(proof), `198.51.${i}.1`).catch((e) => e),
    );
    await until(() => seen.held === 2);
    waiting.shift()?.();
    await until(() => seen.held === 16);
    await end(wrong);
  });

  test('go on 16 at once for a region that the configuration names', async (t) => {
    const { house, seen, until, end } = await startHolding(t);
    const verifier = await house.verifier({ regions: ['eu-west-1'] });
    const proof = await house.proof();
    const wrong = Array.from({ length: 20 }, (_, i) =>
      verify(verifier, madeUp(proof), `198.51.${i}.1`).catch((e) => e),
    );
    await until(() => seen.held === 16);
    await end(wrong);
  });
});
