// `npm run docs`: writes docs/configuration.md from the schemas of the program and of every driver.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { referenceDocument } from '../src/config/reference-document.js';

const file = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));
await mkdir(dirname(file), { recursive: true });
await writeFile(file, await referenceDocument());
