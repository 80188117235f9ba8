import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { describeCredentialSourceConformance } from '../testing/conformance/credential-source.js';
import { basicCredential, FakeCredentialSource, FakeLog, FakeMetrics } from '../testing/index.js';
import { RefreshedCredentials } from './refreshed-credentials.js';
import { SeveralCredentials } from './several-credentials.js';

const repository = (host: string) => ({
  registry: parseRegistryHost(host),
  name: parseRepositoryName('team/app'),
});

/** One whose credentials are held, or asked for each time. */
function subject(life: number | undefined) {
  const given = (password: string) =>
    basicCredential('robot', password, life === undefined ? undefined : Date.now() + life);
  const inner = new FakeCredentialSource([given('first')], ({ registry }) => registry === 'gcr.io');
  const settings = { clock: Date, log: new FakeLog(), upstream: 'test' };
  const source = new RefreshedCredentials(inner, { ...settings, metrics: new FakeMetrics(), credential: 1 });
  return {
    ...{ source, settings },
    known: repository('gcr.io'),
    unknown: repository('quay.io'),
    expected: 'robot:first',
    rotate: () => void inner.credentials.splice(0, 1, given('second')),
    break: () => {
      inner.broken = true;
    },
  };
}

for (const [name, life] of [
  ['held', 3_600_000],
  ['asked for each time', undefined],
] as const) {
  describeCredentialSourceConformance(`RefreshedCredentials, ${name}`, async () => subject(life));
  describeCredentialSourceConformance(`SeveralCredentials, ${name}`, async (t) => {
    const { source, settings, ...rest } = subject(life);
    t.after(() => source.close());
    return { ...rest, source: new SeveralCredentials([source], settings) };
  });
}
