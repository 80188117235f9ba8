import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { namingValue } from './distinguished-name.js';

describe('the value that a DN begins with', () => {
  for (const [dn, attribute, value] of [
    ['cn=developers,ou=groups,dc=example,dc=com', 'cn', 'developers'],
    ['CN=Domain Admins,CN=Users,DC=example,DC=com', 'cn', 'Domain Admins'],
    ['cn=developers,ou=groups', 'ou', undefined],
    ['ou=groups,cn=x', 'cn', undefined],
    ['cn = developers , ou=groups', 'cn', 'developers'],
    ['cn=a\\, b\\+c,ou=groups', 'cn', 'a, b+c'],
    ['cn=a\\2C b,ou=groups', 'cn', 'a, b'],
    ['cn=Lu\\C4\\8Di\\C4\\87', 'cn', 'Lučić'],
    ['cn=\\ a\\ ,ou=groups', 'cn', ' a '],
    ['cn=a\\\\ ,ou=groups', 'cn', 'a\\'],
    ['cn=a+uid=b,ou=groups', 'uid', 'b'],
    ['cn=a;ou=groups', 'cn', 'a'],
    ['cn=a=b,ou=groups', 'cn', 'a=b'],
    ['cn=#04024869,ou=groups', 'cn', undefined],
    ['cn=,ou=groups', 'cn', undefined],
    ['cn=a\\', 'cn', 'a\\'],
    ['developers', 'cn', undefined],
    ['', 'cn', undefined],
  ] as const) {
    test(`${dn}: ${attribute} is ${value}`, () => assert.equal(namingValue(dn, attribute), value));
  }
});
