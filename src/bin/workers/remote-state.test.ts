import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StateStore } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { MemoryStateStore } from '../../state-stores/memory.js';
import { describeStateStoreConformance } from '../../testing/conformance/state-store.js';
import { FakeClock } from '../../testing/fake-clock.js';
import type { StateAnswer, StateCall } from './messages.js';
import { answerFrom, RemoteState } from './remote-state.js';

const asJson = <T>(value: T) => JSON.parse(JSON.stringify(value)) as T;

/** As between two processes: all that is said is JSON. */
function remote(store: StateStore): RemoteState {
  const state = new RemoteState((id, asked: StateCall) => {
    setImmediate(async () => state.answered(id, asJson<StateAnswer>(await answerFrom(store, asJson(asked)))));
  });
  return state;
}

describeStateStoreConformance('of the process that started a worker', async () => {
  const clock = new FakeClock();
  const store = remote(new MemoryStateStore(clock));
  return { store, advance: (milliseconds) => clock.advance(milliseconds) };
});

test('a store that fails there is UNAVAILABLE here, with its reason', async () => {
  const fail = async () => {
    throw new RegistryError('UNAVAILABLE', { reason: 'the disk is full' });
  };
  const store = remote({ get: fail, put: fail, compareAndSet: fail, delete: fail, list: fail, close: fail });
  const o = { signal: new AbortController().signal };
  await assert.rejects(store.get('key', o), (error: RegistryError) => {
    assert.deepEqual([error.code, error.reason], ['UNAVAILABLE', 'the disk is full']);
    return true;
  });
});
