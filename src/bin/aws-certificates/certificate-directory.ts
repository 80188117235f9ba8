import { randomUUID, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../errors.js';

/** What became of one file. */
export type Change = 'new' | 'changed' | 'same';

/** Everybody may read it: nothing in it is secret, and the proxy may run as another user. */
const mode = 0o644;

/** A directory of `REGION.pem`. Nothing in it is ever deleted. */
export class CertificateDirectory {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Makes it where it is absent. @throws errors of the file system */
  static async open(path: string): Promise<CertificateDirectory> {
    await mkdir(path, { recursive: true });
    return new CertificateDirectory(path);
  }

  /** Puts the whole file in its place at once: who reads it meanwhile sees the old one. @throws errors of the file system */
  async put(region: string, certificates: readonly X509Certificate[]): Promise<Change> {
    const file = join(this.#path, `${region}.pem`);
    const text = certificates.map((certificate) => certificate.toString()).join('');
    const before = await readFile(file, 'latin1').catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    });
    if (before !== undefined && fingerprintsIn(before) === fingerprintsIn(text)) return 'same';
    await this.#replace(file, region, text);
    return before === undefined ? 'new' : 'changed';
  }

  async #replace(file: string, region: string, text: string): Promise<void> {
    // Whoever reads the directory leaves out what begins with a dot.
    const temporary = join(this.#path, `.${region}.${randomUUID()}.tmp`);
    try {
      const handle = await open(temporary, 'wx', mode);
      try {
        await handle.writeFile(text);
        // A umask may have taken some of it.
        await handle.chmod(mode);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }
}

/** Of all certificates in a file, however it is laid out; empty where one cannot be read. */
function fingerprintsIn(text: string): string {
  try {
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
    return blocks.map((block) => new X509Certificate(block).fingerprint256).join();
  } catch {
    return '';
  }
}
