import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { htpasswd, overwrite, passwords, type Scope } from '../harness/index.js';

/** A configuration and its files. */
export interface House {
  readonly directory: string;
  /** @returns the file */
  write(settings: Readonly<Record<string, string>>): string;
}

/** alice may pull everything from an upstream that is not there, where `write` says nothing else. */
export async function openHouse(t: Scope): Promise<House> {
  const directory = mkdtempSync(join(tmpdir(), 'drp-serve-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'users.htpasswd'), await htpasswd(passwords));
  const write = (settings: Readonly<Record<string, string>>) => {
    const all = {
      listen: '127.0.0.1:0',
      admin: '{ listen: "127.0.0.1:0" }',
      externalUrl: 'http://docker.test',
      upstreams: '{ one: { url: "http://127.0.0.1:1" } }',
      routes: '[{ prefix: "", upstream: one }]',
      verifiers: '[{ id: local, type: htpasswd, file: users.htpasswd }]',
      policy: '[{ names: ["local:alice"], repositories: ["**"], actions: [pull] }]',
      ...settings,
    };
    const lines = Object.entries(all).map(([name, text]) => `${name}: ${text}\n`);
    overwrite(join(directory, 'proxy.yaml'), lines.join(''), 'renamed');
    return join(directory, 'proxy.yaml');
  };
  return { directory, write };
}

/** The text of a module: a verifier that writes `opening` and waits for `open` beside the configuration, and writes `closed`. */
export const slowVerifier = `
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from '${import.meta.resolve('zod')}';
export const driver = {
  apiVersion: 1, kind: 'verifier', type: 'slow', config: z.strictObject({}),
  async open(config, { baseDirectory }) {
    writeFileSync(join(baseDirectory, 'opening'), '');
    while (!existsSync(join(baseDirectory, 'open'))) await sleep(10);
    return {
      verify: async () => undefined,
      close: async () => writeFileSync(join(baseDirectory, 'closed'), ''),
    };
  },
};
`;
