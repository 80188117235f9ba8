import type { Command } from 'commander';
import type { Configuration, ConfiguredCache } from '../config/configuration.js';
import type { BlobStore, BlobStoreStatus, CallOptions } from '../contracts/index.js';
import { printByteSize } from '../settings/byte-size.js';
import { printDuration } from '../settings/duration.js';
import { durationGrammar, milliseconds } from '../settings/duration-text.js';
import { CommandFailure } from './command-failure.js';
import { configOption } from './config-option.js';
import { exitCodes } from './exit.js';
import { openStore } from './open-caches.js';
import { Opener, type Surroundings } from './opener.js';
import { QuestionError } from './question-error.js';
import { requireConfiguration } from './serve.js';
import { textTable } from './text-table.js';

/** A cache, and where it is configured first. */
interface NamedStore {
  readonly setting: string;
  readonly store: BlobStore;
}

/** Adds `cache stats`, `cache verify` and `cache prune`, which work beside a running proxy and without one. */
export function addCacheCommands(cache: Command, surroundings: () => Surroundings): void {
  cache.description('look after the pull-through caches of a configuration, while the proxy runs or not');
  cache
    .command('stats')
    .description('say what is in each cache')
    .requiredOption(...configOption)
    .option('--json', 'a JSON array instead of a table', false)
    .addHelpText('after', '\nExample:\n  docker-registry-proxy cache stats --config config.yaml')
    .action(async ({ config, json }: { config: string; json: boolean }) => {
      await withStores(config, surroundings(), async (stores, o) => {
        const found = await Promise.all(
          stores.map(async ({ setting, store }) => ({ setting, ...(await store.status(o)) })),
        );
        process.stdout.write(json ? `${JSON.stringify(found, undefined, 2)}\n` : statusTable(found));
      });
    });
  cache
    .command('verify')
    .description('read every blob again and remove those that are damaged; exits with 1 where there are any')
    .requiredOption(...configOption)
    .addHelpText('after', '\nExample:\n  docker-registry-proxy cache verify --config config.yaml')
    .action(async ({ config }: { config: string }) => {
      await withStores(config, surroundings(), async (stores, o) => {
        let isDamaged = false;
        for (const { setting, store } of stores) {
          const { blobs, damaged } = await store.verify(o);
          for (const digest of damaged) process.stdout.write(`${setting}: ${digest} was damaged: removed\n`);
          process.stdout.write(`${setting}: ${blobs} blobs read, ${damaged.length} damaged\n`);
          isDamaged ||= damaged.length > 0;
        }
        if (isDamaged) throw new CommandFailure('blobs were damaged on disk', exitCodes.failed);
      });
    });
  cache
    .command('prune')
    .description('remove what is over maxSize, what was left unfinished, and links that lead nowhere')
    .requiredOption(...configOption)
    .option('--unused-for <duration>', 'and blobs that nobody has pulled for so long: 30d')
    .addHelpText(
      'after',
      '\nExample:\n  docker-registry-proxy cache prune --config config.yaml --unused-for 30d',
    )
    .action(async ({ config, unusedFor }: { config: string; unusedFor?: string }) => {
      if (unusedFor !== undefined && !durationGrammar.test(unusedFor)) {
        throw new QuestionError('--unused-for: expected a duration such as 12h or 30d');
      }
      const age = unusedFor === undefined ? {} : { unusedFor: milliseconds(unusedFor) };
      await withStores(config, surroundings(), async (stores, o) => {
        for (const { setting, store } of stores) {
          const { blobs, bytes, links } = await store.prune({ ...o, ...age });
          process.stdout.write(
            `${setting}: ${blobs} blobs with ${printByteSize(bytes)} removed, and ${links} links\n`,
          );
        }
      });
    });
}

/** @throws QuestionError where there is no cache; OpeningError */
async function withStores(
  file: string,
  surroundings: Surroundings,
  step: (stores: readonly NamedStore[], o: CallOptions) => Promise<void>,
): Promise<void> {
  const configuration = await requireConfiguration(file);
  const opener = new Opener(configuration, surroundings);
  try {
    const stores = new Map<BlobStore, string>();
    for (const cache of cachesOf(configuration)) {
      const { part } = await openStore(opener, cache, 'guest');
      if (!stores.has(part)) stores.set(part, cache.setting);
    }
    if (stores.size === 0) throw new QuestionError(`${file}: no upstream and no route has a cache`);
    const named = [...stores].map(([store, setting]) => ({ setting, store }));
    await step(named, { signal: new AbortController().signal });
  } finally {
    await opener.close();
  }
}

function cachesOf({ upstreams, routes }: Configuration): readonly ConfiguredCache[] {
  const all = [...[...upstreams.values()].map(({ cache }) => cache), ...routes.map(({ cache }) => cache)];
  return all.filter((cache) => cache !== undefined && cache !== false);
}

function statusTable(found: readonly (BlobStoreStatus & { readonly setting: string })[]): string {
  const now = Date.now();
  return textTable([
    ['CACHE', 'BLOBS', 'SIZE', 'OF', 'LINKS', 'LEAST RECENT USE'],
    ...found.map(({ setting, blobs, bytes, maxSize, links, leastRecentUse }) => [
      setting,
      String(blobs),
      printByteSize(bytes),
      printByteSize(maxSize),
      String(links),
      leastRecentUse === undefined ? '-' : `${ago(now - leastRecentUse)} ago`,
    ]),
  ]);
}

/** In whole minutes, hours or days. */
function ago(time: number): string {
  const unit = ([86_400_000, 3_600_000, 60_000] as const).find((one) => time >= 2 * one) ?? 60_000;
  return printDuration(Math.max(Math.floor(time / unit), 1) * unit);
}
