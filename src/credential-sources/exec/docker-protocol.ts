import type { Credential, CredentialTarget } from '../../contracts/index.js';
import type { ProgramResult } from '../../outgoing/run-program.js';
import { helperServer } from '../docker-config-file.js';
import { credentialFromHelper, getArguments } from '../docker-helper.js';
import type { HelperProtocol } from './helper-protocol.js';

/** docker/docker-credential-helpers: one credential a registry. */
export class DockerProtocol implements HelperProtocol {
  readonly args = getArguments;
  readonly #server: string | undefined;
  readonly #refresh: number;

  /**
   * @param o.server asked for in place of the registry
   * @param o.refresh milliseconds that an answer is used, for it does not say how long it lasts
   */
  constructor({ server, refresh }: { readonly server?: string | undefined; readonly refresh: number }) {
    this.#server = server;
    this.#refresh = refresh;
  }

  keyFor(target: CredentialTarget): string {
    return this.inputFor(target);
  }

  inputFor({ registry }: CredentialTarget): string {
    return this.#server ?? helperServer(registry);
  }

  credentialFrom(
    result: ProgramResult,
    _target: CredentialTarget,
    { now }: { readonly now: number },
  ): Credential | undefined {
    const credential = credentialFromHelper(result);
    return credential && { ...credential, refreshAt: now + this.#refresh };
  }
}
