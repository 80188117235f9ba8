// `npm run docs`: writes the references of the programs' settings from the schemas of the programs and of every driver.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { imageServiceReference } from '../src/config/image-service/reference-document.js';
import { referenceDocument } from '../src/config/reference-document.js';

const documents = {
  'configuration.md': referenceDocument,
  'kubelet-image-service/configuration.md': imageServiceReference,
};
for (const [name, write] of Object.entries(documents)) {
  const file = fileURLToPath(new URL(`../docs/${name}`, import.meta.url));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, await write());
}
