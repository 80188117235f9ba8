import { test } from 'node:test';
import { testFront } from './harness/front-cases.js';
import { openFrontHouse } from './harness/front-house.js';
import { startGitlab } from './harness/gitlab.js';
import { startHarbor } from './harness/harbor.js';
import { startJfrog } from './harness/jfrog.js';

// Small differences from one registry to the next: where tokens and layers are, and how each says no.
const rows = [
  {
    name: 'GitLab',
    url: 'registry.gitlab.com',
    username: 'gitlab+deploy-token-1',
    start: startGitlab,
    expected: { absentRepository: 'MANIFEST_UNKNOWN' },
  },
  {
    name: 'Harbor',
    url: 'harbor.example.com',
    username: 'robot$acme+ci',
    start: startHarbor,
    expected: { absentRepository: 'MANIFEST_UNKNOWN' },
  },
  {
    name: 'JFrog',
    url: 'acme.jfrog.io',
    username: 'ci@acme.example',
    start: startJfrog,
    expected: { absentRepository: 'MANIFEST_UNKNOWN' },
  },
] as const;

for (const { expected, ...row } of rows) {
  test(row.name, async (t) => {
    const house = await openFrontHouse(t, row);
    if (house === undefined) return;
    await testFront(t, house, expected);
  });
}
