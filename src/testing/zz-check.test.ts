import { describeStateStoreConformance, FakeClock } from '/work/main/src/testing/index.ts';
import { MemoryStateStore } from '/work/main/src/state-stores/memory.ts';
import * as F from '/work/main/src/state-stores/file.ts';
describeStateStoreConformance('memory', async () => { const clock = new FakeClock(); return { store: new MemoryStateStore(clock), advance: (ms) => clock.advance(ms) }; });
// broken ones: each must fail
class SameVersion extends MemoryStateStore { async get(k, o) { const e = await super.get(k, o); return e && { ...e, version: 'x' }; } }
class Racy extends MemoryStateStore { async compareAndSet(k, v, x, o) { const e = await this.get(k, o); await new Promise(r => setImmediate(r)); if (e?.version !== v) return false; await this.put(k, x, o); return true; } }
class NoTtl extends MemoryStateStore { async put(k, v, o) { return super.put(k, v, { signal: o.signal }); } }
class NoAbort extends MemoryStateStore { async get(k) { return super.get(k, { signal: new AbortController().signal }); } }
class Unsorted extends MemoryStateStore { async list(p, o) { return [...await super.list(p, o)].reverse(); } }
class Loose extends MemoryStateStore { async list(p, o) { return super.list(p.replace(/\/$/, ''), o); } }
for (const [n, C] of Object.entries({ SameVersion, Racy, NoTtl, NoAbort, Unsorted, Loose }))
  describeStateStoreConformance('BROKEN ' + n, async () => { const clock = new FakeClock(); return { store: new C(clock), advance: (ms) => clock.advance(ms) }; });
