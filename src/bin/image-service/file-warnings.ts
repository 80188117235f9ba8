import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { secretFilesIn } from '../../config/check-files.js';
import type { ConfiguredDriver } from '../../config/configuration.js';
import type { ImageServiceConfiguration } from '../../config/image-service/configuration.js';
import { printPath } from '../../config/problem.js';
import { openDirectoryWarning } from '../../grpc/unix-socket.js';
import { isOpenToOthers, StrangeDirectory } from '../../grpc/unix-socket-claim.js';
import type { Warning } from './warnings.js';

/** Who owns a file, and who may do what with it. */
export interface FileRights {
  readonly uid: number;
  /** Permission bits; others may be there, too. */
  readonly mode: number;
}

/**
 * What the files' owners and modes tell: who may write the configuration chooses programs that run as this user, and a
 * secret that all may read is none. A file that cannot be looked at has no warning: whoever needs it says why.
 */
export async function fileWarnings(configuration: ImageServiceConfiguration): Promise<readonly Warning[]> {
  const { file, baseDirectory, runtime, images } = configuration;
  const own = await rightsOf(file);
  const drivers: readonly (readonly [
    string,
    ConfiguredDriver<'runtime' | 'credential-source'> | undefined,
  ])[] = [
    ['runtime', runtime],
    ...images.map(({ credential }, i) => [`images[${i}].credentials`, credential?.source] as const),
  ];
  const secrets = drivers.flatMap(([setting, driver]) =>
    secretFilesIn(driver?.config).map(({ path, file: secret }) => ({
      setting: `${setting}.${printPath(path)}`,
      secret,
    })),
  );
  const warned = secrets.map(async ({ setting, secret }) =>
    secretWarnings(setting, secret.text, await rightsOf(resolve(baseDirectory, secret.text))),
  );
  return [...(own ? writerWarnings(own, process.getuid?.()) : []), ...(await Promise.all(warned)).flat()];
}

/** Of the sockets, where they are there already; `serve` tells of them by itself. */
export async function directoryWarnings({
  listen,
  admin,
}: ImageServiceConfiguration): Promise<readonly Warning[]> {
  const warnings: Warning[] = [];
  for (const [setting, address] of [
    ['listen', listen],
    ['admin.socket', admin.socket],
  ] as const) {
    if (!('path' in address)) continue;
    try {
      if (await isOpenToOthers(dirname(address.path)))
        warnings.push({ setting, message: openDirectoryWarning });
    } catch (error) {
      if (!(error instanceof StrangeDirectory)) continue;
      warnings.push({ setting, message: `serve will refuse it: ${error.message}` });
    }
  }
  return warnings;
}

/** @param user this process runs as; absent where the system has no such numbers */
export function writerWarnings({ uid, mode }: FileRights, user: number | undefined): readonly Warning[] {
  const because = 'who may write this file chooses which programs run here, and where secrets are shown';
  const messages: string[] = [];
  if ((mode & 0o022) !== 0) messages.push(`${octal(mode)}: others than the owner may write: ${because}`);
  if (user !== undefined && uid !== 0 && uid !== user) {
    messages.push(`belongs to user ${uid}, who is neither root nor the user of this program: ${because}`);
  }
  return messages.map((message) => ({ setting: '', message }));
}

function secretWarnings(setting: string, name: string, rights: FileRights | undefined): readonly Warning[] {
  if (rights === undefined || (rights.mode & 0o004) === 0) return [];
  return [{ setting, message: `${name} may be read by everybody on this machine (${octal(rights.mode)})` }];
}

async function rightsOf(file: string): Promise<FileRights | undefined> {
  try {
    return await stat(file);
  } catch {
    return undefined;
  }
}

const octal = (mode: number) => `'${(mode & 0o7777).toString(8).padStart(4, '0')}'`;
