import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ServedHosts } from './served-host.js';

describe('a served host', () => {
  const rows: readonly (readonly [
    externalUrl: string,
    hosts: readonly string[],
    header: string | undefined,
    service: string,
  ])[] = [
    ['https://docker.example.com', [], 'docker.example.com', 'docker.example.com'],
    ['https://docker.example.com', [], 'docker.example.com:443', 'docker.example.com'],
    ['https://docker.example.com', [], 'Docker.Example.COM', 'docker.example.com'],
    ['http://docker.example.com', [], 'docker.example.com:80', 'docker.example.com'],
    ['http://localhost:5000', [], 'localhost:5000', 'localhost:5000'],
    ['https://docker.example.com:443', [], 'docker.example.com', 'docker.example.com'],
    ['https://[::1]:5000', [], '[::1]:5000', '[::1]:5000'],
    ['https://a.example', ['b.example'], 'b.example', 'b.example'],
    ['https://a.example', ['b.example'], 'b.example:443', 'b.example'],
    ['https://a.example', ['b.example'], 'B.Example', 'b.example'],
    ['https://a.example:5000', ['b.example'], 'b.example:5000', 'b.example:5000'],
    ['https://a.example', ['b.example:443'], 'b.example', 'b.example'],
    ['https://a.example:5000', ['b.example:6000'], 'b.example:6000', 'b.example:6000'],
    // Unknown ones, such as an address that a health check uses, are the external URL's.
    ['https://a.example', ['b.example'], '10.0.0.1', 'a.example'],
    ['https://a.example', ['b.example'], undefined, 'a.example'],
    ['https://a.example', ['b.example'], '', 'a.example'],
    ['https://a.example', ['b.example'], 'evil-b.example', 'a.example'],
    ['https://a.example', ['b.example'], 'b.example.evil.example', 'a.example'],
    ['https://a.example', ['b.example'], 'b.example:444', 'a.example'],
    ['https://a.example', ['b.example'], 'b.example:80', 'a.example'],
    ['https://a.example', ['b.example'], 'constructor', 'a.example'],
  ];
  for (const [externalUrl, hosts, header, service] of rows) {
    it(`${header} at ${externalUrl} ${hosts.join(' ')} is ${service}`, () => {
      const served = new ServedHosts(new URL(externalUrl), hosts);
      assert.equal(served.find(header).service, service);
      assert.equal(served.find(header).realm, `${new URL(externalUrl).protocol}//${service}/token`);
    });
  }

  it('has one service, however often and however it is named', () => {
    const served = new ServedHosts(new URL('https://a.example'), ['b.example', 'a.example', 'b.example:443']);
    assert.deepEqual(served.services, ['a.example', 'b.example']);
  });

  it('is found as a route names it, by its port where two share a name', () => {
    const served = new ServedHosts(new URL('https://a.example:5000'), ['b.example:6000', 'b.example']);
    assert.equal(served.named('b.example')?.service, 'b.example:5000');
    assert.equal(served.named('b.example:6000')?.service, 'b.example:6000');
    assert.equal(served.named('a.example')?.service, 'a.example:5000');
    assert.equal(served.named('c.example'), undefined);
  });
});
