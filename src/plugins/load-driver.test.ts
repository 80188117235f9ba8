import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { z } from 'zod';
import { type Driver, driverApiVersion } from '../contracts/driver.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { builtInDrivers } from './built-in.js';
import type { DriverMap } from './driver-map.js';
import { DriverError, loadDriver } from './load-driver.js';

const ldap: Driver<'verifier'> = {
  apiVersion: driverApiVersion,
  kind: 'verifier',
  type: 'ldap',
  config: z.strictObject({}),
  open: () => Promise.reject(new Error('not opened here')),
};
const drivers: DriverMap = {
  ...builtInDrivers,
  verifier: {
    ldap: async () => ({ driver: ldap }),
    broken: () => Promise.reject(new Error('no such package')),
  },
};

const schema = '{ _zod: {}, safeParseAsync() {} }';
const complete = `apiVersion: 1, kind: 'verifier', type: 'mine', config: ${schema}, open() {}`;

let baseDirectory: string;
before(async () => {
  baseDirectory = await mkdtemp(join(tmpdir(), 'drivers-'));
});
after(() => rm(baseDirectory, { recursive: true }));

const clock = new FakeClock();
const given = {
  ...{ id: 'own', baseDirectory: '/', clock, log: new FakeLog(), metrics: new FakeMetrics() },
  state: new MemoryStateStore(clock),
};

let files = 0;
async function module(code: string): Promise<string> {
  const name = `./driver-${files++}.mjs`;
  await writeFile(join(baseDirectory, name), code);
  return name;
}

describe('by type', () => {
  it('is the driver of the map', async () => {
    assert.equal(await loadDriver('verifier', { type: 'ldap' }, drivers), ldap);
  });

  for (const [type, message] of [
    ['ldpa', /^unknown type 'ldpa'; known: ldap, broken, did you mean 'ldap'\?$/],
    ['kerberos', /^unknown type 'kerberos'; known: ldap, broken$/],
    ['toString', /^unknown type 'toString'/],
    ['broken', /^the verifier driver 'broken' does not load: no such package$/],
  ] as const) {
    it(`refuses ${type}`, async () => {
      await assert.rejects(loadDriver('verifier', { type }, drivers), { name: 'DriverError', message });
    });
  }
});

describe('by module', () => {
  for (const [name, code] of [
    ['driver', `export const driver = { ${complete} };`],
    ['a default', `export default { ${complete} };`],
  ] as const) {
    it(`takes the exported ${name}`, async () => {
      const choice = { module: await module(code), baseDirectory };
      assert.equal((await loadDriver('verifier', choice, drivers)).type, 'mine');
      assert.equal((await loadDriver('verifier', { ...choice, type: 'mine' }, drivers)).type, 'mine');
    });
  }

  for (const [code, message] of [
    ['export const x = 1;', /exports neither 'driver' nor a default$/],
    ['export const driver = 1;', /it is not a driver object$/],
    ['throw new Error("boom");', /^module \.\/driver-\d+\.mjs does not load: boom$/],
    ['export const driver = {;', /does not load: /],
    [`export const driver = { ${complete}, apiVersion: 2 };`, /made for apiVersion 2; this program has 1$/],
    [`export const driver = { ${complete}, apiVersion: undefined };`, /made for apiVersion none; /],
    [`export const driver = { ${complete}, kind: 'policy' };`, /kind 'policy'; expected 'verifier'$/],
    [`export const driver = { ${complete}, type: '' };`, /it has no 'type'$/],
    [`export const driver = { ${complete}, config: {} };`, /its 'config' is not a zod 4 schema$/],
    [`export const driver = { ${complete}, open: 1 };`, /it has no 'open' function$/],
  ] as const) {
    it(`refuses ${code}`, async () => {
      const choice = { module: await module(code), baseDirectory };
      await assert.rejects(loadDriver('verifier', choice, drivers), (error) => {
        assert.ok(error instanceof DriverError, 'error instanceof DriverError');
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('refuses another type than the one that is named', async () => {
    const choice = {
      module: await module(`export const driver = { ${complete} };`),
      type: 'x',
      baseDirectory,
    };
    await assert.rejects(loadDriver('verifier', choice, drivers), /it holds the type 'mine', not 'x'$/);
  });
});

describe('what a module’s driver opens', () => {
  const opening = (code: string) => `export const driver = { ${complete}, open: async () => (${code}) };`;
  for (const [code, message] of [
    ['undefined', "what its 'open' gave has no method 'verify'"],
    ['{ close() {} }', "what its 'open' gave has no method 'verify'"],
    ['{ verify() {} }', "what its 'open' gave has no method 'close'"],
  ] as const) {
    it(`is refused where it is ${code}`, async () => {
      const driver = await loadDriver(
        'verifier',
        { module: await module(opening(code)), baseDirectory },
        drivers,
      );
      await assert.rejects(driver.open({}, given), { message });
    });
  }

  const engine = ['pull', 'status', 'list', 'remove', 'fsInfo', 'ping', 'close'];
  const runtimeOf = (kind: string, methods: readonly string[]) =>
    `{ kind: '${kind}', ${methods.map((name) => `${name}() {}`).join(', ')} }`;
  for (const [what, code, message] of [
    ['no kind', '{ close() {} }', "what its 'open' gave has no 'kind'; expected engine or cri"],
    ['another kind', runtimeOf('vm', engine), "what its 'open' gave has no 'kind'; expected engine or cri"],
    ['no engine', runtimeOf('engine', ['close']), "what its 'open' gave has no method 'pull'"],
    ['an engine', runtimeOf('engine', engine), undefined],
    ['no CRI', runtimeOf('cri', engine), "what its 'open' gave has no method 'begin'"],
    ['CRI that is never closed', runtimeOf('cri', ['begin']), "what its 'open' gave has no method 'close'"],
    ['CRI', runtimeOf('cri', ['begin', 'close']), undefined],
  ] as const) {
    it(`of kind runtime is ${message === undefined ? 'taken' : 'refused'}: ${what}`, async () => {
      const foreign = await module(opening(code).replace("'verifier'", "'runtime'"));
      const driver = await loadDriver('runtime', { module: foreign, baseDirectory }, drivers);
      const opened = driver.open({}, given);
      if (message === undefined) await opened;
      else await assert.rejects(opened, { message });
    });
  }

  it('is what it gave, and `open` keeps its `this`', async () => {
    const code = `export const driver = { ${complete}, made: { verify() {}, close() {} }, open() { return this.made; } };`;
    const driver = await loadDriver('verifier', { module: await module(code), baseDirectory }, drivers);
    assert.equal(typeof (await driver.open({}, given)).verify, 'function');
  });
});

describe('every built-in driver', () => {
  for (const kind of Object.keys(builtInDrivers) as (keyof DriverMap)[]) {
    for (const type of Object.keys(builtInDrivers[kind])) {
      it(`${kind} ${type} is of its kind and named after its type`, async () => {
        assert.equal((await loadDriver(kind, { type }, builtInDrivers)).type, type);
      });
    }
  }
});
