import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NamePattern } from './name-pattern.js';

for (const [pattern, name, expected] of [
  ['_gcp', '_gcp', true],
  ['_gcp', '_gcp2', false],
  ['_gcp', 'x_gcp', false],
  ['robot-*', 'robot-', true],
  ['robot-*', 'robot-a', true],
  ['robot-*', 'arobot-a', false],
  ['*-bot', 'a-bot', true],
  ['*-bot', 'a-bots', false],
  ['*', '', true],
  ['*', 'anything', true],
  ['a*a', 'a', false],
  ['a*a', 'aa', true],
  ['a*b*c', 'abc', true],
  ['a*b*c', 'aXbXc', true],
  ['a*b*b', 'ab', false],
  ['a*bc*c', 'abc', false],
  ['repo:acme/*:ref:refs/heads/main', 'repo:acme/app:ref:refs/heads/main', true],
  ['repo:acme/*:ref:refs/heads/main', 'repo:acme/app:ref:refs/heads/main2', false],
  ['a.c', 'abc', false],
  ['a+', 'aa', false],
] as const) {
  test(`${pattern} and ${name || 'nothing'}: ${expected}`, () =>
    assert.equal(new NamePattern(pattern).matches(name), expected));
}
