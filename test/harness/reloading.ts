import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Front, LogLine } from './front.js';

/**
 * A configuration for one upstream, `one`, that all routes lead to; put together of settings that a test replaces.
 *
 * @param settings top-level settings by name, each as a value in YAML on one line
 */
export function settingsFor(url: string, settings: Readonly<Record<string, string>> = {}): string {
  const all = {
    upstreams: `{ one: { url: "${url}" } }`,
    routes: '[{ prefix: "", upstream: one }]',
    ...settings,
  };
  return Object.entries(all)
    .map(([name, text]) => `${name}: ${text}\n`)
    .join('');
}

/** Reloads. @returns what the log said of it */
export async function reloadOf(front: Front): Promise<readonly LogLine[]> {
  const before = front.logLines().length;
  await front.reload();
  return front
    .logLines()
    .slice(before)
    .filter(({ event }) => event === 'reload');
}

/** Reloads, with another configuration where one is given. @throws where it was not taken */
export async function takeOver(front: Front, yaml?: string): Promise<LogLine> {
  if (yaml !== undefined) front.configure(yaml);
  const lines = await reloadOf(front);
  const told = lines.find(({ message }) => message === 'configuration reloaded');
  return told ?? assert.fail(`not reloaded: ${JSON.stringify(lines)}`);
}

/** Waits until a condition holds. @throws where it does not within ten seconds */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await holds()) return;
    await sleep(10);
  }
  assert.fail(`it did not come to this: ${what}`);
}

/** Waits until nothing works with an earlier configuration any more. */
export async function settled(front: Front): Promise<void> {
  await until('one configuration is in use', async () => {
    return (await front.metric('registry_proxy_configurations_in_use')) === 1;
  });
}
