import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import type { DriverKind } from '../contracts/driver.js';
import { builtInDrivers } from '../plugins/built-in.js';
import { loadDriver } from '../plugins/load-driver.js';
import { imageServiceJsonSchema } from './image-service/json-schema.js';
import { exampleImageServiceConfiguration } from './image-service/reference-document.js';
import { configurationJsonSchema, driverSettings, type JsonSchema } from './json-schema.js';
import { exampleConfiguration } from './reference-document.js';

/** As much of JSON Schema as the schema uses. */
function accepts(schema: JsonSchema | boolean, value: unknown): boolean {
  if (typeof schema === 'boolean') return schema;
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches && !branches.some((branch) => accepts(branch, value))) return false;
  if (schema.type !== undefined && ![schema.type].flat().includes(typeOf(value))) return false;
  if (schema.const !== undefined && schema.const !== value) return false;
  if (schema.enum && !schema.enum.includes(value)) return false;
  if (typeof value === 'string') {
    return new RegExp(schema.pattern ?? '').test(value) && value.length >= (schema.minLength ?? 0);
  }
  if (Array.isArray(value)) {
    return (
      value.length >= (schema.minItems ?? 0) && value.every((item) => accepts(schema.items ?? true, item))
    );
  }
  return typeof value !== 'object' || value === null || acceptsObject(schema, value);
}

function acceptsObject(schema: JsonSchema, value: object): boolean {
  if (!(schema.required ?? []).every((key) => Object.hasOwn(value, key))) return false;
  return Object.entries(value).every(
    ([key, inner]) =>
      accepts(schema.propertyNames ?? true, key) &&
      accepts(schema.properties?.[key] ?? schema.additionalProperties ?? true, inner),
  );
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

/** The example of the design, with the drivers there are. */
const example = `
listen: 0.0.0.0:5000
externalUrl: https://docker.example.com
tls: { certificate: /etc/tls/tls.crt, key: /etc/tls/tls.key }
admin: { listen: 127.0.0.1:9090 }
upstreams:
  gcr: { url: https://gcr.io }
  hub: { url: https://registry-1.docker.io, credentials: { type: static, username: acme, password: { file: /run/secrets/hub } }, blobs: stream }
routes:
  - { prefix: "", upstream: gcr, rewrite: my-gcp-project/ }
  - { prefix: hub/, upstream: hub, ns: [docker.io] }
trustedProxies: [10.0.0.0/8]
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
  - { id: own, module: ./own.js, anything: 1 }
policy:
  - { groups: ["corp:developers"], repositories: ["**"], actions: [pull] }
  - { names: ["local:alice"], groups: ["corp:release"], repositories: ["infra/**"], actions: [pull, push] }
token: { ttl: 5m, keys: { directory: /var/lib/docker-registry-proxy/keys } }
state: { type: file, path: /var/lib/docker-registry-proxy/state }
`;

describe('the JSON Schema', async () => {
  const schema = await configurationJsonSchema();
  for (const [name, text] of [
    ['the example', example],
    ["the reference's example", exampleConfiguration],
  ] as const) {
    it(`accepts ${name}`, () => assert(accepts(schema, parse(text))));
  }

  const asList = example.slice(example.indexOf('policy:'), example.indexOf('token:'));
  const rules = asList.slice('policy:\n'.length).replaceAll('  - ', '    - ');
  for (const [name, policy, expected] of [
    ['rules under a key', `policy:\n  rules:\n${rules}`, true],
    ['rules with a condition', asList.replace('actions: [pull] }', 'actions: [pull], when: "true" }'), true],
    ['a condition that is no text', asList.replace('actions: [pull] }', 'actions: [pull], when: 1 }'), false],
    ['a file', 'policy: { file: policy.yaml }\n', true],
    ['the type and a file', 'policy: { type: rules, file: policy.yaml }\n', true],
    ['a file and rules', 'policy: { file: policy.yaml, rules: [] }\n', false],
    [
      'tests',
      'policy: { rules: [], tests: [{ as: "corp:x", repository: a, action: pull, expect: deny }] }\n',
      true,
    ],
    [
      'a test that expects nothing',
      'policy: { rules: [], tests: [{ as: x, repository: a, action: pull }] }\n',
      false,
    ],
    ['an unknown key', 'policy: { rule: [] }\n', false],
    ['nothing', 'policy: {}\n', false],
    ['a module', 'policy: { module: ./mine.js, anything: 1 }\n', true],
  ] as const) {
    it(`${expected ? 'accepts' : 'refuses'} a policy of ${name}`, () => {
      const text = example.replace(asList, policy);
      assert.notEqual(text, example);
      assert.equal(accepts(schema, parse(text)), expected);
    });
  }

  for (const [name, from, to] of [
    ['an unknown key', 'listen:', 'listne: 1\nlisten:'],
    ['an unknown key of an upstream', 'url: https://gcr.io', 'url: https://gcr.io, x: 1'],
    ['an unknown key of credentials', 'username: acme', 'username: acme, x: 1'],
    ['an unknown key of a verifier', 'file: users.htpasswd', 'file: users.htpasswd, x: 1'],
    ['an unknown key of a rule', 'repositories: ["**"]', 'repositories: ["**"], x: 1'],
    ['an unknown key of the token', 'ttl: 5m', 'x: 1'],
    ['an unknown key of the state', 'type: file, path', 'type: file, x: 1, path'],
    ["another driver's key", 'type: file, path', 'type: memory, path'],
    ['a type that is none', 'type: htpasswd', 'type: nosuch'],
    ['a verifier without a type', 'type: htpasswd, ', ''],
    ['a verifier without an id', 'id: local, ', ''],
    ['a literal secret', 'password: { file: /run/secrets/hub }', 'password: hunter2'],
    ['an upstream of an odd name', '  hub:', '  HUB:'],
    ['no externalUrl', /externalUrl: .*\n/, ''],
  ] as const) {
    it(`refuses ${name}`, () => {
      const text = example.replace(from, to);
      assert.notEqual(text, example);
      assert.ok(!accepts(schema, parse(text)), '!accepts(schema, parse(text))');
    });
  }

  it('requires a mapping whose default driver has required settings', async () => {
    const driver = await loadDriver('token-issuer', { type: 'jwt' }, builtInDrivers);
    const jwt = async () => ({ driver: { ...driver, config: z.strictObject({ ttl: z.string() }) } });
    const { required } = await configurationJsonSchema({ ...builtInDrivers, 'token-issuer': { jwt } });
    assert.deepEqual(required, [...(schema.required ?? []), 'token']);
  });

  it('refers to nothing outside itself', () => {
    assert.doesNotMatch(JSON.stringify(schema), /"\$ref"/);
  });
});

describe('the JSON Schema of kubelet-image-service', async () => {
  const schema = await imageServiceJsonSchema();

  it("accepts the reference's example", () =>
    assert(accepts(schema, parse(exampleImageServiceConfiguration)), 'it is refused'));

  it('accepts one for the credential provider alone, which has no runtime', () =>
    assert(accepts(schema, parse('images: []')), 'it is refused'));

  for (const [name, from, to] of [
    ['an unknown key', 'listen:', 'listne: 1\nlisten:'],
    ['a runtime with nothing in it', /runtime: .*\n/, 'runtime:\n'],
    ['a runtime without a type', 'type: cri, ', ''],
    ["another runtime's key", 'type: cri', 'type: cri, pinned: []'],
    ['a type that is none', 'type: aws-identity', 'type: nosuch'],
    ['a source without a type', 'type: aws-identity', ''],
    ["another source's key", 'type: docker-config', 'type: anonymous'],
    ['a rule without a pattern', 'match: docker.example.com/**, ', ''],
    ['an unknown key of a rule', 'match: docker.example.com/**', 'match: docker.example.com/**, x: 1'],
  ] as const) {
    it(`refuses ${name}`, () => {
      const text = exampleImageServiceConfiguration.replace(from, to);
      assert.notEqual(text, exampleImageServiceConfiguration);
      assert.ok(!accepts(schema, parse(text)), 'it is accepted');
    });
  }

  it('describes every setting', () => checkSchema(schema, 'kubelet-image-service'));
});

describe('the settings of every driver', () => {
  for (const kind of Object.keys(builtInDrivers) as DriverKind[]) {
    it(`${kind}: strict and described`, async () => {
      for (const { type, schema } of await driverSettings(kind)) checkSchema(schema, `${kind} ${type}`);
    });
  }
});

function checkSchema(schema: JsonSchema, place: string): void {
  if (schema.type === 'object') {
    assert(schema.additionalProperties !== undefined, `${place} takes any key: use z.strictObject`);
  }
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    if (schema.title !== 'secret' && inner.const === undefined) {
      assert(inner.description, `${place}.${key} has no description`);
    }
    if (inner.title !== 'secret') checkSchema(inner, `${place}.${key}`);
  }
  for (const inner of [schema.items, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) {
    if (inner) checkSchema(inner, place);
  }
}
