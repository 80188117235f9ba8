import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { ByteBudget } from '../protocol/byte-budget.js';
import { clientsTagsList, readList, rewriteTagsList } from './rewrite.js';

describe('rewriteTagsList', () => {
  for (const [what, body, tags] of [
    ['a list', '{"name":"inside/app","tags":["1","2"]}', ['1', '2']],
    ['no tags, as distribution writes it', '{"name":"inside/app","tags":null}', []],
    ['no tags at all', '{"name":"inside/app"}', []],
    [
      'more than a registry should say',
      '{"name":"inside/app","tags":["1"],"manifest":{"x":"inside"},"child":["inside"]}',
      ['1'],
    ],
    ['what is no tag', '{"tags":["1",2,null,{"a":"inside"},["b"]]}', ['1']],
  ] as const) {
    test(`${what}: the client's name, and tags`, () => {
      assert.deepEqual(JSON.parse(rewriteTagsList(Buffer.from(body), 'app').toString('utf8')), {
        name: 'app',
        tags,
      });
    });
  }

  for (const body of ['', '{', 'null', '[]', '"x"', '<html>']) {
    test(`'${body}' is no list, or one without tags`, () => {
      try {
        assert.deepEqual(JSON.parse(rewriteTagsList(Buffer.from(body), 'app').toString('utf8')), {
          name: 'app',
          tags: [],
        });
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'UNAVAILABLE');
      }
    });
  }

  test('tags that are no list', () => {
    assert.throws(() => rewriteTagsList(Buffer.from('{"tags":"x"}'), 'app'), { code: 'UNAVAILABLE' });
  });
});

describe('readList', () => {
  const pieces = (...sizes: readonly number[]) =>
    Readable.from(
      sizes.map((size) => Buffer.alloc(size)),
      { objectMode: false },
    );
  const limits = { size: 10, time: 60_000 };

  test('up to the limit', async () => {
    assert.equal((await readList(pieces(5, 5), limits)).length, 10);
  });

  test('beyond it, and the body is let go', async () => {
    const body = pieces(5, 5, 1);
    await assert.rejects(readList(body, limits), { code: 'UNAVAILABLE', reason: /over 10 bytes/ });
    assert.equal(body.destroyed, true);
  });

  test('a body that fails', async () => {
    const body = new Readable({
      read() {
        this.destroy(new Error('cut'));
      },
    });
    await assert.rejects(readList(body, limits), { code: 'UNAVAILABLE' });
  });

  test('a body that comes drop by drop ends with the time for the whole', async () => {
    const drops = setInterval(() => body.push('x'), 5);
    const body = new Readable({ read() {}, destroy: (error, done) => done(error) });
    body.once('close', () => clearInterval(drops));
    await assert.rejects(readList(body, { size: 1_000_000, time: 50 }), { code: 'UNAVAILABLE' });
    assert.equal(body.destroyed, true);
  });
});

describe('clientsTagsList', () => {
  const tags = Array.from({ length: 1000 }, (_, i) => `tag-${i}`);
  const theirs = Buffer.from(JSON.stringify({ name: 'inside/app', tags }));
  const ours = Buffer.from(JSON.stringify({ name: 'app', tags }));
  const signal = new AbortController().signal;
  const list = (budget: ByteBudget, body = Readable.from([theirs])) =>
    clientsTagsList(body, 'app', { budget, signal });

  test('is held until its client has read it, or is gone', async () => {
    const budget = new ByteBudget('lists', { total: 3 * theirs.length, free: 0 });
    const first = await list(budget);
    assert.equal(first.length, ours.length);
    assert.equal(budget.used, ours.length);
    const second = await list(budget);
    await assert.rejects(list(budget), { code: 'TOOMANYREQUESTS', retryAfter: 1 });
    assert.equal(budget.used, 2 * ours.length);
    second.body.destroy();
    assert.equal(budget.used, ours.length);
    assert.deepEqual(await readList(first.body), ours);
    assert.equal(budget.used, 0);
  });

  test('leaves nothing counted where it fails', async () => {
    const budget = new ByteBudget('lists', { total: 2 * theirs.length, free: 0 });
    const cut = new Readable({
      read() {
        this.push(theirs);
        this.destroy(new Error('cut'));
      },
    });
    const much = new ByteBudget('lists', { total: theirs.length + 10, free: 0 });
    const little = new ByteBudget('lists', { total: theirs.length - 1, free: 0 });
    const gone = AbortSignal.abort(new Error('the client left'));
    await assert.rejects(list(budget, cut), { code: 'UNAVAILABLE' });
    await assert.rejects(list(budget, Readable.from([Buffer.from('<html>')])), { code: 'UNAVAILABLE' });
    await assert.rejects(list(much), { code: 'TOOMANYREQUESTS' });
    await assert.rejects(list(little), { code: 'TOOMANYREQUESTS' });
    await assert.rejects(clientsTagsList(Readable.from([theirs]), 'app', { budget, signal: gone }), /left/);
    assert.deepEqual([budget.used, much.used, little.used], [0, 0, 0]);
  });
});
