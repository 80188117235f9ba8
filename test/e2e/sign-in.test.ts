import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { request } from 'node:https';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { createAuthority } from '../../src/testing/certificates.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { requireProgram } from '../../src/testing/programs.js';
import { basic, type Front, startFront } from '../harness/index.js';
import { registryClient, startOpenIdProvider } from '../identity/harness/openid-provider.js';
import { accessibilityFaults, Chromium, type OpenPage, overflows, tabTo } from './harness/chromium.js';
import { openWorkspace } from './harness/workspace.js';

const host = 'docker.example.com';
const home = `https://${host}/`;
const images = fileURLToPath(new URL('../../docs/images/', import.meta.url));

/** The proxy on https, a provider that is another site, and a browser for which the name leads to the proxy. */
async function start(t: TestContext, program: string) {
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  const client = { ...registryClient, redirect_uris: [`${home}sign-in/callback`] };
  const provider = await startOpenIdProvider({ clients: [client] });
  t.after(() => provider.close());
  const { certificate, privateKey } = await createAuthority({ name: host });
  const front = await startFront(
    t,
    `
externalUrl: ${home}
tls: { certificate: server.pem, key: server.key }
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
verifiers:
  - { id: sso, type: oidc, issuer: "${provider.issuer}", audiences: [registry], groupsClaim: groups }
signIn:
  verifier: sso
  clientId: registry
  clientSecret: { file: client-secret }
  scopes: [openid, profile, email, groups]
rememberLogins: { accepted: 0s, refused: 0s }
policy:
  - { groups: ["sso:developers"], repositories: ["team/**"], actions: [pull] }
`,
    {
      files: {
        'server.pem': certificate,
        'server.key': privateKey,
        'client-secret': client.client_secret,
      },
    },
  );
  const browser = await Chromium.start(workspace, program, { [host]: front.port });
  return { front, browser, registry };
}

/** What `docker login` asks, and `docker pull` after it: the status, and what was granted. */
function tokenRequest({ port }: Front, token: string): Promise<{ status: number; scope: string }> {
  const path = `/token?service=${host}&scope=repository:team/app:pull`;
  const headers = { host, authorization: basic('alice', token) };
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, headers, agent: false, rejectUnauthorized: false };
    const asked = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('error', reject).once('end', () => {
        const status = response.statusCode ?? 0;
        const { scope = '' } = JSON.parse(text) as { scope?: string };
        resolve({ status, scope });
      });
    });
    asked.on('error', reject).end();
  });
}

/** At the provider. */
async function logIn(page: Page, login = 'alice', password = 'wonderland'): Promise<void> {
  await page.getByLabel('Login').fill(login);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

async function shownToken(page: Page): Promise<string> {
  const token = await page.locator('[data-copy="the token"] code').textContent();
  assert.match(token ?? '', /^drp_pat_[A-Za-z0-9_-]{43}$/);
  return token ?? '';
}

async function createToken(page: Page, label: string): Promise<string> {
  await page.getByLabel('What is it for?').fill(label);
  await page.getByLabel('Life').selectOption('7 days');
  await page.getByRole('button', { name: 'Create a token' }).click();
  await page.getByRole('heading', { level: 1, name: 'Your new token' }).waitFor();
  await page.getByRole('heading', { level: 2, name: label }).waitFor();
  return shownToken(page);
}

async function revoke(page: Page, label: string): Promise<void> {
  const row = page.getByRole('row', { name: new RegExp(label) });
  await row.getByText('Revoke').first().click();
  await row.getByRole('button', { name: 'Yes, revoke it' }).click();
  await page.getByRole('status').filter({ hasText: 'The token is revoked' }).waitFor();
  assert.equal(await page.getByRole('row', { name: new RegExp(label) }).count(), 0);
}

/** Of the page as it is: in light and dark, and on a narrow screen. */
async function assertAccessible(page: Page, what: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await accessibilityFaults(page), [], `${what}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  assert.equal(await overflows(page, 320), false, `${what} is wider than 320 pixels`);
}

async function takePictures(page: Page, name: string): Promise<void> {
  if (process.env.UPDATE_SCREENSHOTS !== '1') return;
  mkdirSync(images, { recursive: true });
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    const clip = { x: 0, y: 0, width: 900, height: 840 };
    await page.screenshot({ path: `${images}${name}-${colorScheme}.png`, clip });
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

describe('signing in by browser', () => {
  test('Chromium', async (t) => {
    const program = requireProgram(t, 'chromium', 'chromium');
    if (program === undefined) return;
    const { front, browser, registry } = await start(t, program);

    await t.test('with clicks: sign in, copy, create, revoke, sign out', async () => {
      const opened = await browser.open({ permissions: ['clipboard-read', 'clipboard-write'] });
      await goThrough(front, opened);
      assert.deepEqual(opened.complaints, []);
      await opened.page.context().close();
    });

    await t.test('without scripts', async () => {
      const opened = await browser.open({ javaScriptEnabled: false });
      await goThroughWithoutScripts(front, opened);
      assert.deepEqual(opened.complaints, []);
      await opened.page.context().close();
    });

    await t.test('with the keyboard alone', async () => {
      const opened = await browser.open();
      await goThroughByKeyboard(front, opened);
      assert.deepEqual(opened.complaints, []);
      await opened.page.context().close();
    });

    await t.test('that fails tells what to do next', async () => {
      const { page } = await browser.open();
      const answer = await page.goto(`${home}sign-in/callback?code=x&state=y`);
      assert.equal(answer?.status(), 400);
      await assertAccessible(page, 'the error page');
      await page.getByRole('link', { name: 'Sign in again' }).click();
      await logIn(page);
      await page.getByRole('heading', { level: 1, name: 'Your tokens' }).waitFor();
      await page.context().close();
    });

    await t.test('and then opening what somebody pushed: none of it runs', async () => {
      const { page } = await browser.open();
      await openPushed(registry, page);
      await page.context().close();
    });

    await t.test('nothing of it is in the log', () => {
      assert.doesNotMatch(front.log(), /drp_pat_|[?&]code=|registry-session|wonderland/);
    });
  });
});

async function goThrough(front: Front, { page }: OpenPage): Promise<void> {
  await page.goto(home);
  assert.equal(await page.title(), host);
  await assertAccessible(page, 'the landing page');
  await page.getByRole('link', { name: 'Sign in' }).click();
  await logIn(page);

  await page.waitForURL(home);
  assert.equal(await page.title(), `Your new token – ${host}`);
  await page.getByText('Signed in as alice').waitFor();
  const first = await shownToken(page);
  await takePictures(page, 'sign-in');
  await assertCookies(page);
  await page.getByRole('button', { name: 'Copy the token' }).click();
  await page.getByRole('status').filter({ hasText: 'Copied the token' }).waitFor();
  assert.equal(await page.evaluate('navigator.clipboard.readText()'), first);
  await page.getByRole('button', { name: 'Copy the docker login', exact: true }).click();
  await page.getByRole('status').filter({ hasText: 'Copied the docker login' }).waitFor();
  assert.equal(await page.evaluate('navigator.clipboard.readText()'), `docker login ${host} -u alice`);
  assert.deepEqual(await tokenRequest(front, first), { status: 200, scope: 'repository:team/app:pull' });
  for (const summary of await page.locator('summary').all()) await summary.click();
  await assertAccessible(page, 'the page of a new token');

  await page.reload();
  assert.equal(await page.title(), `Your tokens – ${host}`);
  assert.ok(!(await page.content()).includes(first), 'the token is shown twice');
  const second = await createToken(page, 'laptop');
  assert.equal((await tokenRequest(front, second)).status, 200);
  await page.reload();
  await assertAccessible(page, 'the page of tokens');
  await revoke(page, 'laptop');
  assert.equal((await tokenRequest(front, second)).status, 401);
  assert.equal((await tokenRequest(front, first)).status, 200);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('status').filter({ hasText: 'You have signed out' }).waitFor();
  await page.getByRole('link', { name: 'Sign in' }).waitFor();
  const cookies = await page.context().cookies(home);
  assert.deepEqual(
    cookies.filter(({ name }) => name.includes('registry')),
    [],
  );
}

/** A page that somebody pushed, in the browser of a signed-in person who was led to it with credentials. */
async function openPushed(registry: MemoryRegistry, page: Page): Promise<void> {
  await page.goto(home);
  await page.getByRole('link', { name: 'Sign in' }).click();
  await logIn(page);
  await page.waitForURL(home);
  const token = await createToken(page, 'for the link');
  const script = 'document.title = "it ran"; fetch("/?it-ran", { credentials: "include" })';
  const pushed = Buffer.from(`<!DOCTYPE html><title>pushed</title><script>${script}</script>`);
  const { digest } = registry.putBlob('team/app', pushed);
  const answer = { status: 200, body: pushed };
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  // From then on Chromium shows them to all of the host.
  await page.goto(`https://alice:${token}@${host}/token?service=${host}`);
  for (const [what, path, effect] of [
    ['a blob as a page', `blobs/${digest}`, { headers: { 'content-type': 'text/html' } }],
    ['a blob as a drawing', `blobs/${digest}`, { headers: { 'content-type': 'image/svg+xml' } }],
    ['a blob without a type', `blobs/${digest}`, { headers: { 'content-type': '' } }],
    [
      'a manifest as a page',
      'manifests/1',
      { answer: { ...answer, headers: { 'content-type': 'text/html' } } },
    ],
    ['a manifest without a type', 'manifests/1', { answer }],
  ] as const) {
    const remove = registry.faults.add({ path }, effect);
    const answered = page.waitForResponse((response) => response.url().includes(`/v2/team/app/${path}`));
    await page.goto(`${home}v2/team/app/${path}`).catch((error: Error) => {
      assert.match(error.message, /Download is starting/, what);
    });
    assert.equal((await answered).status(), 200, what);
    assert.notEqual(await page.title(), 'it ran', what);
    remove();
  }
  assert.deepEqual(
    asked.filter((url) => url.includes('it-ran')),
    [],
  );
}

/** As the browser took them. */
async function assertCookies(page: Page): Promise<void> {
  const cookies = await page.context().cookies(home);
  assert.deepEqual(
    cookies.map(({ name, httpOnly, secure, sameSite, domain, path }) => ({
      ...{ name, httpOnly, secure, sameSite, domain, path },
    })),
    [
      {
        ...{ name: '__Host-registry-session', httpOnly: true, secure: true },
        ...{ sameSite: 'Lax', domain: host, path: '/' },
      },
    ],
  );
}

async function goThroughWithoutScripts(front: Front, { page }: OpenPage): Promise<void> {
  await page.goto(home);
  await page.getByRole('link', { name: 'Sign in' }).click();
  await logIn(page);
  await page.waitForURL(home);
  assert.equal(await page.getByRole('button', { name: /^Copy/ }).count(), 0, 'a button that does nothing');
  const token = await createToken(page, 'without scripts');
  assert.equal((await tokenRequest(front, token)).status, 200);
  await revoke(page, 'without scripts');
  assert.equal((await tokenRequest(front, token)).status, 401);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('link', { name: 'Sign in' }).waitFor();
}

async function goThroughByKeyboard(front: Front, { page }: OpenPage): Promise<void> {
  await page.goto(home);
  await tabTo(page, 'Skip to the content');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Sign in');
  await assertFocusIsSeen(page);
  await page.keyboard.press('Enter');
  await page.getByLabel('Login').waitFor();
  await tabTo(page, 'login');
  await page.keyboard.type('alice');
  await tabTo(page, 'password');
  await page.keyboard.type('wonderland');
  await page.keyboard.press('Enter');
  await page.waitForURL(home);
  await tabTo(page, 'label');
  await assertFocusIsSeen(page);
  await page.keyboard.type('by keyboard');
  await tabTo(page, 'life');
  await page.keyboard.press('ArrowUp');
  await tabTo(page, 'Create a token');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 2, name: 'by keyboard' }).waitFor();
  const token = await shownToken(page);
  await page.getByText('It works for 7 days').waitFor();
  assert.equal((await tokenRequest(front, token)).status, 200);
  await page.reload();
  await tabTo(page, 'Revoke the token by keyboard');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Yes, revoke it');
  await page.keyboard.press('Enter');
  await page.getByRole('status').filter({ hasText: 'The token is revoked' }).waitFor();
  assert.equal((await tokenRequest(front, token)).status, 401);
  await tabTo(page, 'Sign out');
  await page.keyboard.press('Enter');
  await page.getByRole('status').filter({ hasText: 'You have signed out' }).waitFor();
}

async function assertFocusIsSeen(page: Page): Promise<void> {
  const width: unknown = await page.evaluate(
    'parseFloat(getComputedStyle(document.activeElement).outlineWidth)',
  );
  assert.ok(Number(width) >= 2, `the focus has an outline of ${String(width)} pixels`);
}
