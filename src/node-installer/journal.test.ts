import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TreeFiles } from '../testing/tree-files.js';
import { JournalFile, OvertakenError } from './journal.js';

const record = { '/etc/x': { hash: 'a', block: 'b' } };

describe('the journal', () => {
  test('is read as it was written', async () => {
    const files = new TreeFiles({});
    const wanted = { mode: 'pod' as const, socket: '/s', unit: 'kubelet.service', version: '1' };
    const failures = { plan: 'p', count: 2, at: 5, why: 'w' };
    await new JournalFile(files, '/state').save({ record, installed: wanted, failures });
    const journal = await new JournalFile(files, '/state').load();
    assert.deepEqual({ ...journal }, { record, installed: wanted, failures, run: undefined });
  });

  for (const text of ['', '{', '{"version":2}', '[]', '{"version":1,"record":{"/x":{}}}']) {
    test(`that this version cannot read is as none: ${text}`, async () => {
      const journal = new JournalFile(new TreeFiles({ '/state/journal.json': text }), '/state');
      assert.deepEqual(await journal.load(), { record: {} });
      await journal.save({ record });
    });
  }

  test('is not written over where another process has written it', async () => {
    const files = new TreeFiles({});
    const [one, other] = [new JournalFile(files, '/state'), new JournalFile(files, '/state')];
    await one.load();
    await other.load();
    await one.save({ record });
    await assert.rejects(other.save({ record: {} }), OvertakenError);
    await assert.rejects(other.check(), OvertakenError);
    await one.save({ record: {} });
    await other.load();
    await other.save({ record });
  });
});
