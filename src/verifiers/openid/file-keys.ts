import type { CryptoKey, JWSHeaderParameters } from 'jose';
import type { CallOptions, Log } from '../../contracts/index.js';
import { describeError } from '../../errors.js';
import { ChangingFile } from '../../settings/changing-file.js';
import type { IssuerKeys } from './issuer-keys.js';
import { type KeySet, parseKeySet } from './key-set.js';

/** Bytes: as much as is taken over HTTP. */
const maxFileSize = 1024 * 1024;

/** Keys in a file: of an issuer that cannot be reached, or a SPIFFE bundle. Read again when it has changed. */
export class FileKeys implements IssuerKeys {
  readonly #file: ChangingFile<KeySet>;

  private constructor(file: ChangingFile<KeySet>) {
    this.#file = file;
  }

  /**
   * @param path absolute
   * @throws an Error with a one-line message where there is no usable key in it
   */
  static async open(path: string, given: { readonly id: string; readonly log: Log }): Promise<FileKeys> {
    const file = new ChangingFile(path, {
      parse: parseNonEmpty,
      maxSize: maxFileSize,
      onChange: ({ size }) => given.log.info({ id: given.id, file: path, keys: size }, 'keys read again'),
      onFailure: (error) =>
        given.log.error(
          { id: given.id, reason: describeError(error) },
          'the keys cannot be read again; the last ones stay in use',
        ),
    });
    await file.read().catch((error: unknown) => {
      throw new Error(describeError(error), { cause: error });
    });
    return new FileKeys(file);
  }

  async keyFor(header: JWSHeaderParameters, o: CallOptions): Promise<CryptoKey> {
    o.signal.throwIfAborted();
    return (await this.#file.read()).find(header);
  }

  async close(): Promise<void> {}
}

function parseNonEmpty(text: string): KeySet {
  const keys = parseKeySet(text);
  if (keys.size === 0) throw new Error('it holds no public key for signatures');
  return keys;
}
