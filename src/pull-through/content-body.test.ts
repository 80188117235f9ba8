import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContentBody } from './content-body.js';

const size = 4 * 2 ** 20;

/** Bytes of one letter. */
function bodyOf(letter: string, size: number): ContentBody {
  const source = {
    read: async (into: Uint8Array, position: number) => {
      const count = Math.min(into.length, size - position);
      into.fill(letter.charCodeAt(0), 0, count);
      return count;
    },
    leave: () => {},
  };
  return new ContentBody(source, { start: 0, end: size });
}

/** @returns the pieces as they stand now: later ones of the same buffer have gone over earlier ones */
async function pulled(body: ContentBody): Promise<readonly Buffer[]> {
  const pieces: Buffer[] = [];
  for (let piece = await body.pull(); piece !== undefined; piece = await body.pull()) pieces.push(piece);
  return pieces;
}

test('the buffer of a body that was read to its end serves the next one', async () => {
  const [first] = await pulled(bodyOf('a', size));
  const [second] = await pulled(bodyOf('b', size));
  assert.equal(first?.buffer, second?.buffer, 'another buffer');
});

test('the buffer of a body that was cut stays as it is: it may still be on its way to a client', async () => {
  const cut = bodyOf('a', size);
  const piece = await cut.pull();
  assert.ok(piece !== undefined, 'no piece');
  cut.destroy();
  await pulled(bodyOf('b', size));
  assert.ok(
    piece.every((byte) => byte === 'a'.charCodeAt(0)),
    'the bytes of another body',
  );
});

test('bodies that are open at the same time share no buffer', async () => {
  const bodies = ['a', 'b', 'c'].map((letter) => ({ letter, body: bodyOf(letter, size) }));
  const pieces = await Promise.all(
    bodies.map(async ({ letter, body }) => ({ letter, piece: await body.pull() })),
  );
  for (const { letter, piece } of pieces)
    assert.ok(
      piece?.every((byte) => byte === letter.charCodeAt(0)),
      `the bytes of ${letter} are others`,
    );
  await Promise.all(bodies.map(({ body }) => pulled(body)));
});
