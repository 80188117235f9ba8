import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The settings of one profile, by name. */
export type Profile = ReadonlyMap<string, string>;

/**
 * The profiles of the shared AWS configuration and of the shared credentials; those go first (AWS SDKs and Tools
 * reference guide, "Shared config and credentials files"). Read anew each time. A file that cannot be read has none:
 * where the identity is a pod's, `HOME` often leads to nothing of ours.
 */
export async function readProfiles(): Promise<ReadonlyMap<string, Profile>> {
  const { AWS_CONFIG_FILE: config, AWS_SHARED_CREDENTIALS_FILE: credentials } = process.env;
  const [first, second] = await Promise.all([
    sectionsOf(config || '~/.aws/config'),
    sectionsOf(credentials || '~/.aws/credentials'),
  ]);
  const profiles = new Map<string, Map<string, string>>();
  const add = (name: string, settings: Profile) =>
    profiles.set(name, new Map([...(profiles.get(name) ?? []), ...settings]));
  for (const [section, settings] of first) {
    const name = section === 'default' ? section : profileNameIn(section);
    if (name !== undefined) add(name, settings);
  }
  for (const [section, settings] of second) add(section, settings);
  return profiles;
}

/** Of `[profile NAME]` and `[profile "NAME"]`, as the configuration has them; it holds other sections as well. */
function profileNameIn(section: string): string | undefined {
  return /^profile\s+(["']?)(.+)\1$/.exec(section)?.[2];
}

async function sectionsOf(file: string): Promise<ReadonlyMap<string, Profile>> {
  const path = file.startsWith('~/') ? join(process.env.HOME || homedir(), file.slice(2)) : file;
  const text = await readFile(path, 'utf8').catch(() => '');
  return parseSections(text);
}

/** Settings under another one (`s3 =`, and lines that are indented) are left out: none of them is about credentials. */
export function parseSections(text: string): ReadonlyMap<string, Profile> {
  const sections = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  let isNested = false;
  for (const line of text.split(/\r?\n/)) {
    const [written = ''] = line.split(/(?:^|\s)[;#]/);
    const name = /^\[(.*)\]$/.exec(written.trim())?.[1]?.trim();
    if (name !== undefined) {
      section = sections.get(name) ?? new Map();
      sections.set(name, section);
      isNested = false;
      continue;
    }
    const [, key, value = ''] = /^([^=]+?)\s*=\s*(.*)$/.exec(written.trim()) ?? [];
    if (key === undefined) continue;
    const isOwn = line.trimStart() === line;
    if (value === '') isNested = true;
    else if (isOwn) isNested = false;
    if (value !== '' && !isNested) section?.set(key, value);
  }
  return sections;
}
