import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseImageReference } from '../reference/image-reference.js';
import { imagePattern, parseImagePattern } from './image-pattern.js';

describe('an image pattern', () => {
  const cases: readonly (readonly [pattern: string, image: string, isMatch: boolean])[] = [
    ['docker.example.com/**', 'docker.example.com/app', true],
    ['docker.example.com/**', 'docker.example.com/team/app:1.2', true],
    ['docker.example.com/**', `docker.example.com/app@sha256:${'0'.repeat(64)}`, true],
    ['docker.example.com/**', 'docker.example.com:443/app', false],
    ['docker.example.com/**', 'docker.example.com.evil.test/app', false],
    ['docker.example.com/**', 'evil.test/docker.example.com/app', false],
    ['Docker.Example.com/**', 'docker.example.com/app', true],
    ['docker.example.com/*', 'docker.example.com/team/app', false],
    ['docker.example.com/*', 'docker.example.com/app', true],
    ['docker.example.com/team/**', 'docker.example.com/team/a/b', true],
    ['docker.example.com/team/**', 'docker.example.com/teamster/a', false],
    ['docker.example.com/team-*/app', 'docker.example.com/team-a/app', true],
    ['docker.example.com/app', 'docker.example.com/app', true],
    ['docker.example.com/app', 'docker.example.com/apps', false],
    ['*.internal/**', 'registry.internal/app', true],
    ['*.internal/**', 'a.b.internal/app', true],
    ['*.internal/**', 'internal/app', false],
    ['*.internal/**', 'a.internal:5000/app', false],
    ['*.internal:5000/**', 'a.internal:5000/app', true],
    ['docker.io/**', 'docker.io/library/alpine', true],
    ['index.docker.io/**', 'docker.io/library/alpine', true],
    ['docker.io/library/*', 'alpine', true],
  ];
  for (const [pattern, image, isMatch] of cases) {
    test(`${pattern} ${isMatch ? 'matches' : 'does not match'} ${image}`, () => {
      assert.equal(parseImagePattern(pattern)?.matches(parseImageReference(image)), isMatch);
    });
  }

  const refused = [
    '',
    '**',
    '*/**',
    'docker.example.com',
    'docker.example.com/',
    'https://docker.example.com/**',
    'docker.*/**',
    'docker.example.com*/**',
    '*docker.example.com/**',
    'docker.example.com/***',
    'docker.example.com/App',
    'docker.example.com/app:1.2',
    'docker.example.com/${principal.name}/**',
    'acme/app',
    'docker.example.com//app',
    'docker.example.com/app/',
  ];
  for (const text of refused) {
    test(`'${text}' is none`, () => assert.equal(parseImagePattern(text), undefined));
  }

  const mistakes: readonly (readonly [text: unknown, message: RegExp])[] = [
    [5, /^expected a registry's host and a pattern of repositories/],
    ['', /^expected a registry's host/],
    ['x'.repeat(513), /^is longer than 512 characters; expected/],
    [' docker.example.com/**', /^begins or ends with a space;/],
    ['https://robot:hunter2@docker.example.com/**', /^begins with a scheme: leave it out;/],
    ['robot@docker.example.com/**', /^names a user: /],
    ['docker.example.com', /^names no repositories: write docker\.example\.com\/\*\*;/],
    ['docker.example.com:5000', /^names no repositories: write docker\.example\.com:5000\/\*\*;/],
    ['busybox', /^names no registry: write docker\.io\/library\/busybox;/],
    ['busybox:1.36', /^expected/],
    ['docker.example.com/', /^ends with a slash: /],
    ['/app', /^begins with a slash;/],
    ['acme/app', /^has no registry, .* did you mean docker\.io\/acme\/app\?;/],
    ['*/**', /^leaves the end of the host open, /],
    ['docker.*/**', /^leaves the end of the host open, /],
    ['{a,b}.example.com/**', /^has braces, brackets or a \? in its host: /],
    ['docker.example.com/{a,b}', /^has braces, brackets or a \?: /],
    ['docker.example.com/${principal.name}/**', /^has a variable: /],
    ['docker.example.com/***', /^has more than two stars /],
    ['docker.example.com/App', /^has upper-case letters in its repository: /],
    ['docker.example.com/app:1.2', /^has a tag: /],
    ['docker.example.com/app@sha256:0', /^has a digest: /],
    ['docker.example.com//app', /^has an empty part: /],
  ];
  for (const [text, message] of mistakes) {
    test(`'${String(text).slice(0, 50)}' is told by its mistake`, () => {
      const told = imagePattern().safeParse(text).error?.issues[0]?.message ?? assert.fail('it is taken');
      assert.match(told, message);
      assert.doesNotMatch(told, /hunter2/);
    });
  }
});
