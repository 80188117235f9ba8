import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isAcrHost } from './acr-host.js';

describe('a host of ACR', () => {
  for (const [host, expected] of [
    ['contoso.azurecr.io', true],
    ['contoso-a1b2c3.azurecr.io', true],
    ['contoso.westeurope.geo.azurecr.io', true],
    ['contoso.azurecr.cn', true],
    ['contoso.azurecr.us', true],
    ['contoso.azurecr.eaglex.ic.gov', true],
    ['contoso.azurecr.microsoft.scloud', true],
    ['azurecr.io', false],
    ['contoso-azurecr.io', false],
    ['contoso.evil.azurecr.io', false],
    ['contoso.westeurope.data.azurecr.io', false],
    ['contoso.evil.com.geo.azurecr.io', false],
    ['contoso.azurecrxio', false],
    ['contoso.azurecr.de', false],
    ['contoso.azurecr.io.', false],
    ['contoso.azurecr.io.evil.com', false],
    ['contoso.azurecr.io:443', false],
    ['Contoso.azurecr.io', false],
    ['-contoso.azurecr.io', false],
  ] as const) {
    test(`${host}: ${expected}`, () => assert.equal(isAcrHost(host), expected));
  }
});
