import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from '../errors.js';
import { parseImageReference, printImageReference } from './image-reference.js';

const digest = `sha256:${'0f'.repeat(32)}`;

describe('parseImageReference', () => {
  for (const [text, printed] of [
    ['alpine', 'docker.io/library/alpine'],
    ['alpine:3.20', 'docker.io/library/alpine:3.20'],
    [`alpine@${digest}`, `docker.io/library/alpine@${digest}`],
    [`alpine:3@${digest}`, `docker.io/library/alpine:3@${digest}`],
    ['acme/app', 'docker.io/acme/app'],
    ['docker.io/alpine', 'docker.io/library/alpine'],
    ['index.docker.io/alpine', 'docker.io/library/alpine'],
    ['Index.Docker.io/acme/app', 'docker.io/acme/app'],
    ['docker.example.com/my-image', 'docker.example.com/my-image'],
    ['Docker.Example.com/my-image', 'docker.example.com/my-image'],
    ['localhost/x', 'localhost/x'],
    ['localhost:5000', 'docker.io/library/localhost:5000'],
    ['localhost:5000/x:5000', 'localhost:5000/x:5000'],
    ['[::1]:5000/x', '[::1]:5000/x'],
    ['docker.io:443/alpine', 'docker.io:443/alpine'],
    // A host only by its upper-case letter must not become a namespace of Docker Hub when it is printed.
    ['Registry/x', 'REGISTRY/x'],
  ] as const) {
    it(`${text} -> ${printed}`, () => assert.equal(printImageReference(parseImageReference(text)), printed));
  }

  for (const text of [
    '',
    '/',
    ':',
    '@',
    'a:',
    'a@',
    'a@sha256:x',
    `a@${digest}@${digest}`,
    'a:b:c',
    'UPPER',
    'a/B',
    'a//b',
    'gcr.io/',
    'gcr.io//x',
    'gcr.io/../x',
    'https://gcr.io/x',
    'user@gcr.io/x',
    'a.b_c/x',
    'foo:tag/bar',
    ' alpine',
    'alpine\n',
    `docker.io/${'a'.repeat(250)}`,
  ]) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.throws(() => parseImageReference(text), { code: 'NAME_INVALID', status: 400 });
    });
  }
});

const component = fc.stringMatching(/^[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}$/);
const name = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const host = fc.oneof(
  fc.stringMatching(/^[a-z0-9]{1,6}(-[a-z0-9]{1,3})?(\.[a-z]{2,5}){1,2}(:[0-9]{1,5})?$/),
  fc.stringMatching(/^[A-Z]{1,6}[a-z0-9]{0,3}(:[0-9]{1,5})?$/),
  fc.constantFrom('localhost', 'localhost:5000', '127.0.0.1', '[::1]:5000', 'docker.io', 'index.docker.io'),
);
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/);
const anyDigest = fc.stringMatching(/^sha256:[a-f0-9]{64}$/);

describe('for any image reference', () => {
  const parts = fc
    .record({ host, name, tag, digest: anyDigest }, { requiredKeys: ['name'] })
    // Without a host the first of several components must not look like one.
    .filter((image) => image.host !== undefined || !/^[^/]*\.[^/]*\//.test(image.name));
  it('what is printed is parsed to the same', () => {
    fc.assert(
      fc.property(parts, (image) => {
        const text = `${image.host === undefined ? '' : `${image.host}/`}${image.name}${image.tag ? `:${image.tag}` : ''}${image.digest ? `@${image.digest}` : ''}`;
        const parsed = parseImageReference(text);
        assert.equal(parsed.tag, image.tag);
        assert.equal(parsed.digest, image.digest);
        assert.deepEqual(parseImageReference(printImageReference(parsed)), parsed);
      }),
      { numRuns: 1000 },
    );
  });

  it('any text is refused as NAME_INVALID, or is parsed to what is parsed to the same again', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...'aA0._-/:@[] ') }),
    );
    fc.assert(
      fc.property(text, (value) => {
        try {
          const parsed = parseImageReference(value);
          assert.deepEqual(parseImageReference(printImageReference(parsed)), parsed);
        } catch (error) {
          assert(error instanceof RegistryError, String(error));
          assert.equal(error.code, 'NAME_INVALID');
        }
      }),
      { numRuns: 3000 },
    );
  });
});
