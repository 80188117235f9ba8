import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Machine, notFound } from './asking.js';

// Why there is no credential, for who asks the helper by hand.

describe('debug lines say why there is nothing', () => {
  const env = { DOCKER_CREDENTIAL_REGISTRY_PROXY_DEBUG: '1' };
  const line = (text: string) => `docker-credential-registry-proxy: debug: ${text}\n`;

  test('a public registry, and no configuration', async (t) => {
    const machine = new Machine(t, env);
    const { stdout, stderr } = await machine.ask('get', 'ghcr.io');
    assert.equal(stdout, notFound.stdout);
    const places = `${machine.home}/.docker/registry-proxy.yaml, /etc/docker-credential-registry-proxy.yaml`;
    assert.equal(
      stderr,
      line(`there is no configuration at ${places}, and DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG names none`) +
        line('ghcr.io is a public registry: it is shown nothing unless a configuration says so'),
    );
  });

  for (const [hosts, shown] of [
    [['a.internal', '*.b.internal'], 'a.internal, *.b.internal'],
    [
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `${name}.internal`),
      'a.internal, b.internal, c.internal, d.internal, e.internal and 2 more',
    ],
  ] as const) {
    test(`a configuration of ${hosts.length} registries, of which none matches`, async (t) => {
      const machine = new Machine(t, env);
      const file = machine.configure(hosts.map((match) => ({ match, credentials: { type: 'anonymous' } })));
      const { stdout, stderr } = await machine.ask('get', 'docker.example.com');
      assert.equal(stdout, notFound.stdout);
      assert.equal(stderr, line(`nothing in ${file} matches docker.example.com: it has ${shown}`));
    });
  }

  test('a configuration whose source has nothing', async (t) => {
    const machine = new Machine(t, env);
    const file = machine.configure([{ match: '*.internal', credentials: { type: 'anonymous' } }]);
    const { stderr } = await machine.ask('get', 'a.internal');
    assert.equal(
      stderr,
      line(`a.internal matches *.internal in ${file}, whose anonymous has nothing to show`),
    );
  });
});
