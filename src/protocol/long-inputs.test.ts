import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isDigest } from '../reference/digest.js';
import { parseImageReference } from '../reference/image-reference.js';
import { parseReference } from '../reference/reference.js';
import { isRegistryHost } from '../reference/registry-host.js';
import { isRepositoryComponent, isRepositoryName, shorten } from '../reference/repository-name.js';
import { parseScope } from '../reference/scope.js';
import { parseChallenges } from './challenge.js';
import { nextLink } from './link.js';
import { parseRange } from './range.js';

// What a client or a registry may send is parsed in a time that grows with its length, whatever it looks like. A
// pattern that backtracks without end is stopped by ending its process; nothing here measures time.

const parsers: readonly ((text: string) => unknown)[] = [
  isDigest,
  isRegistryHost,
  isRepositoryName,
  isRepositoryComponent,
  nextLink,
  parseChallenges,
  parseImageReference,
  parseRange,
  parseReference,
  parseScope,
  shorten,
];
const characters = [
  'a',
  'A',
  '0',
  '-',
  '_',
  '.',
  '/',
  ':',
  '@',
  '"',
  '\\',
  ' ',
  ',',
  '=',
  ';',
  '<',
  '>',
  '\n',
];
const pumps = characters.flatMap((first) => ['', ...characters].map((second) => first + second));
const beginnings = ['', 'a', 'Bearer a="', '<', '<a>; a="', '<a>; ', 'repository:a', 'sha256:', 'bytes='];
const ends = ['', '!', '"', '='];
/** As long as headers can be, and as names must not be. */
const lengths = [250, 5_000];

function parseAll(): void {
  for (const pump of pumps) {
    for (const length of lengths) {
      const middle = pump.repeat(length / pump.length);
      for (const beginning of beginnings) {
        for (const end of ends) {
          for (const parse of parsers) attempt(parse, beginning + middle + end);
        }
      }
    }
  }
}

function attempt(parse: (text: string) => unknown, text: string): void {
  try {
    parse(text);
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'RegistryError') throw error;
  }
}

if (process.env.PARSE_LONG_INPUTS === '1') {
  parseAll();
} else {
  test('no input keeps a parser busy', () => {
    execFileSync(process.execPath, ['--import', 'tsx', fileURLToPath(import.meta.url)], {
      env: { ...process.env, PARSE_LONG_INPUTS: '1' },
      timeout: 180_000,
      killSignal: 'SIGKILL',
    });
  });
}
