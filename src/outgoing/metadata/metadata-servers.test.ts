import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { metadataIsDisabled } from '../aws/instance-metadata.js';
import { azureMetadata, googleMetadata } from './metadata-servers.js';

describe('the metadata server of Google Cloud', () => {
  test('has a name, and an address', () => {
    assert.equal(googleMetadata({}).href, 'http://metadata.google.internal/');
    assert.equal(googleMetadata({ GCE_METADATA_HOST: '' }, 'address').href, 'http://169.254.169.254/');
  });

  test('is where the variable says', () => {
    const environment = { GCE_METADATA_HOST: '127.0.0.1:8080' };
    for (const by of ['name', 'address'] as const)
      assert.equal(googleMetadata(environment, by).href, 'http://127.0.0.1:8080/');
    assert.equal(googleMetadata({ GCE_METADATA_HOST: '[::1]:8080' }).href, 'http://[::1]:8080/');
  });

  for (const named of [
    'a b',
    'http://127.0.0.1',
    'https://127.0.0.1:8080',
    '//127.0.0.1',
    'a@127.0.0.1',
    'a/b',
  ]) {
    test(`is not ${named}`, () => {
      assert.throws(() => googleMetadata({ GCE_METADATA_HOST: named }), {
        message: 'GCE_METADATA_HOST is not a host',
      });
    });
  }
});

describe('the metadata service of Azure', () => {
  test('has an address, or is where the variable says', () => {
    assert.equal(azureMetadata({}).href, 'http://169.254.169.254/');
    const environment = { AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:2579' };
    assert.equal(azureMetadata(environment).href, 'http://127.0.0.1:2579/');
  });

  for (const named of ['metadata', 'ftp://127.0.0.1', 'http://user@127.0.0.1', 'http://:word@127.0.0.1']) {
    test(`is not ${named}`, () => {
      assert.throws(() => azureMetadata({ AZURE_POD_IDENTITY_AUTHORITY_HOST: named }), {
        message: 'AZURE_POD_IDENTITY_AUTHORITY_HOST is not an http URL',
      });
    });
  }
});

describe('AWS_EC2_METADATA_DISABLED', () => {
  // As the SDK reads it (`remoteProvider` of @aws-sdk/credential-provider-node).
  for (const [value, expected] of [
    [undefined, false],
    ['', false],
    ['false', false],
    ['true', true],
    ['TRUE', true],
    ['1', true],
    ['False', true],
  ] as const) {
    test(`${value === undefined ? 'absent' : JSON.stringify(value)} ${expected ? 'forbids' : 'allows'} to ask`, () => {
      assert.equal(metadataIsDisabled({ AWS_EC2_METADATA_DISABLED: value }), expected);
    });
  }
});
