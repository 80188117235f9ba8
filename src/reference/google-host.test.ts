import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isGoogleHost } from './google-host.js';

describe('a host of Google', () => {
  for (const [host, expected] of [
    ['gcr.io', true],
    ['us.gcr.io', true],
    ['eu.gcr.io', true],
    ['asia.gcr.io', true],
    ['europe-docker.pkg.dev', true],
    ['europe-west1-docker.pkg.dev', true],
    ['mirror.gcr.io', false],
    ['evil.gcr.io', false],
    ['evil-gcr.io', false],
    ['gcr.io.evil.com', false],
    ['gcrxio', false],
    ['gcr.io:8443', false],
    ['gcr.io.', false],
    ['docker.pkg.dev', false],
    ['-docker.pkg.dev', false],
    ['evil.europe-docker.pkg.dev', false],
    ['europe-npm.pkg.dev', false],
    ['europe-docker.pkg.dev:8443', false],
    ['europe-docker.pkg.dev.evil.com', false],
    ['europe-docker.pkgxdev', false],
    ['Europe-docker.pkg.dev', false],
    ['registry.example.com', false],
    ['127.0.0.1:5000', false],
  ] as const) {
    test(`${host}: ${expected}`, () => assert.equal(isGoogleHost(host), expected));
  }
});
