import { builtInDrivers } from '../../plugins/built-in.js';
import type { DriverMap } from '../../plugins/driver-map.js';
import { driverSettings } from '../json-schema.js';
import { settingRows, table } from '../reference-table.js';
import { imageServiceCoreSchema } from './json-schema.js';

/** A configuration of a node whose kubelet uses containerd. */
export const exampleImageServiceConfiguration = `listen: unix:///run/kubelet-image-service/image.sock
runtime: { type: cri, endpoint: unix:///run/containerd/containerd.sock }
images:
  - { match: docker.example.com/**, credentials: { type: aws-identity } }
  - { match: "*.internal.example.com/**", credentials: { type: docker-config, file: registries.json } }
`;

const introduction = `<!-- Written by \`npm run docs\` from the schemas: change those, not this file. -->

# Configuration of \`kubelet-image-service\`

One YAML file. It is strict: an unknown key is an error, and all problems are reported together, each with its line and
column. Relative file names count from the directory of the configuration file.

\`\`\`yaml
${exampleImageServiceConfiguration}\`\`\`

- A **duration** is a number and a unit: \`500ms\`, \`30s\`, \`5m\`, \`1h\`.
- A **mode** is four octal digits in quotes: \`'0600'\`.
- A **secret** is \`{ file: /run/secrets/name }\` or \`{ env: NAME }\`, never the text itself.
- A setting that is **required** is so where the mapping around it is there at all.
- \`kubelet-image-service schema\` prints a JSON Schema for editors, \`kubelet-image-service check --config FILE\` checks a
  file.
- A changed file is taken over while the service runs; a pull under way ends as it began. \`listen\`, \`socketMode\`,
  \`directoryMode\`, \`runtime\`, \`admin\` and the code of a \`module\` need a restart. A bad file is told in the log, and the
  earlier one stays.
`;

const rules = `## Rules

The first entry of \`images\` that matches an image counts; what is written below it is not looked at, also where its
source has no credential. An image that no entry matches is pulled as kubelet asked for it. So is one that kubelet has a
credential for, a wrong one with it: an \`imagePullSecret\` hides the rules.

Only names with a registry match: \`docker.example.com/app\`, and not \`app\`.
`;

/** The reference of all settings as Markdown, `docs/kubelet-image-service/configuration.md`. Loads every driver. */
export async function imageServiceReference(drivers: DriverMap = builtInDrivers): Promise<string> {
  const parts = [introduction, '## The program\n', table(settingRows(imageServiceCoreSchema())), rules];
  parts.push('## Runtimes\n', '`runtime`: who keeps the images. Keys beside `type` and `module` are:\n');
  for (const { type, schema } of await driverSettings('runtime', drivers)) {
    const rows = settingRows(schema);
    parts.push(`### \`type: ${type}\`\n`);
    parts.push(rows.length === 0 ? 'No settings of its own.\n' : table(rows));
  }
  const types = Object.keys(drivers['credential-source']).sort();
  parts.push(
    '## Credentials\n',
    `\`credentials\` of a rule: the credential sources of \`docker-registry-proxy\`, with the same settings
([reference](../configuration.md#credentials-for-upstreams)): ${types.map((type) => `\`${type}\``).join(', ')}.\n`,
  );
  return parts.join('\n');
}
