import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import type { Workspace } from './workspace.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export interface OpenPage {
  readonly page: Page;
  /** What the browser complained about on our hosts: errors of scripts, what the content security policy stopped. */
  readonly complaints: readonly string[];
}

/** Debian's Chromium, in the workspace's own home. It reaches nothing but the loopback interface. */
export class Chromium {
  readonly #browser: Browser;
  readonly #hosts: readonly string[];

  private constructor(browser: Browser, hosts: readonly string[]) {
    this.#browser = browser;
    this.#hosts = hosts;
  }

  /**
   * @param program its path
   * @param hosts names that lead to a port of this machine
   */
  static async start(
    workspace: Workspace,
    program: string,
    hosts: Readonly<Record<string, number>>,
  ): Promise<Chromium> {
    const rules = Object.entries(hosts).map(([name, port]) => `MAP ${name}:443 127.0.0.1:${port}`);
    const browser = await chromium.launch({
      executablePath: program,
      args: [
        '--no-sandbox',
        `--host-resolver-rules=${[...rules, 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'].join(',')}`,
      ],
      env: workspace.environment() as Record<string, string>,
    });
    workspace.onClose(() => browser.close());
    return new Chromium(browser, Object.keys(hosts));
  }

  /** A page of a browser that knows nothing yet. */
  async open(options: BrowserContextOptions = {}): Promise<OpenPage> {
    const context = await this.#browser.newContext({
      ignoreHTTPSErrors: true,
      viewport: { width: 900, height: 1000 },
      reducedMotion: 'reduce', // a colour on its way to another has neither's contrast
      ...options,
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      const { url } = message.location();
      const isOurs = !URL.canParse(url) || this.#hosts.includes(new URL(url).host);
      if (isOurs && /error|warning/.test(message.type())) complaints.push(`${url}: ${message.text()}`);
    });
    return { page, complaints };
  }
}

/** What axe-core finds wrong with a page, in light or dark as it is now: `rule: element`. */
export async function accessibilityFaults(page: Page): Promise<readonly string[]> {
  await page.evaluate(axe); // through the debugger, for which our content security policy does not count
  return page.evaluate(async () => {
    const run = (globalThis as unknown as { axe: { run(options: object): Promise<Results> } }).axe;
    const { violations } = await run.run({ preload: false });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  });
}

interface Results {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

/** True where a page of this width has to be scrolled sideways. */
export async function overflows(page: Page, width: number): Promise<boolean> {
  const before = page.viewportSize();
  await page.setViewportSize({ width, height: 640 });
  const wide: unknown = await page.evaluate('document.documentElement.scrollWidth > innerWidth');
  if (before !== null) await page.setViewportSize(before);
  return wide === true;
}

/**
 * Moves the focus with the keyboard alone.
 *
 * @param name the beginning of what the element says, or its `name`
 * @throws an Error where it cannot be reached
 */
export async function tabTo(page: Page, name: string): Promise<void> {
  for (let steps = 0; steps < 60; steps++) {
    await page.keyboard.press('Tab');
    const found: unknown = await page.evaluate(
      '[document.activeElement.textContent.trim(), document.activeElement.name ?? ""]',
    );
    const [text, field] = found as [string, string];
    if (text.startsWith(name) || field === name) return;
  }
  throw new Error(`the keyboard does not reach ${name}`);
}
