import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Log } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { ChangingFile } from '../settings/changing-file.js';
import type { FilePath } from '../settings/file-path.js';

/** Milliseconds between two looks at the files. */
const lookEvery = 10_000;
const maxSize = 1024 * 1024;

/** PEM. */
export interface TlsPair {
  readonly certificate: string;
  readonly key: string;
}

/** The certificate and key we serve with, read again when they are renewed. */
export class TlsFiles {
  readonly #certificate: ChangingFile<string>;
  readonly #key: ChangingFile<string>;
  #pair: TlsPair;

  private constructor(certificate: ChangingFile<string>, key: ChangingFile<string>, pair: TlsPair) {
    this.#certificate = certificate;
    this.#key = key;
    this.#pair = pair;
  }

  /** @throws an Error where they cannot be read or do not belong together */
  static async open(
    { certificate, key }: { readonly certificate: FilePath; readonly key: FilePath },
    baseDirectory: string,
  ): Promise<TlsFiles> {
    const file = ({ text }: FilePath) =>
      new ChangingFile(resolve(baseDirectory, text), { parse: (pem) => pem, maxSize });
    const files = [file(certificate), file(key)] as const;
    return new TlsFiles(...files, await readPair(...files));
  }

  get pair(): TlsPair {
    return this.#pair;
  }

  /** Looks again and again. While only one of the two files is new the old pair stays.
   *
   * @param every milliseconds between two looks
   * @returns stops it
   */
  watch(use: (pair: TlsPair) => void, log: Log, every = lookEvery): () => void {
    let told: string | undefined;
    const look = async () => {
      try {
        const pair = await readPair(this.#certificate, this.#key);
        if (pair.certificate === this.#pair.certificate && pair.key === this.#pair.key) return;
        this.#pair = pair;
        use(pair);
        log.info({ event: 'certificate' }, 'the certificate was replaced');
      } catch (error) {
        const reason = describeError(error);
        if (reason !== told) log.error({ reason }, 'the certificate was not replaced, the old one stays');
        told = reason;
      }
    };
    const timer = setInterval(look, every);
    timer.unref();
    return () => clearInterval(timer);
  }
}

async function readPair(
  certificateFile: ChangingFile<string>,
  keyFile: ChangingFile<string>,
): Promise<TlsPair> {
  const [certificate, key] = await Promise.all([certificateFile.read(), keyFile.read()]);
  createSecureContext({ cert: certificate, key });
  return { certificate, key };
}
