import type { IncomingHttpHeaders } from 'node:http';
import { RegistryError } from '../errors.js';
import { printChallenge } from '../protocol/challenge.js';
import { printScope, type Scope } from '../reference/scope.js';
import { parseBasic } from './basic-credentials.js';
import type { TokenAuthOptions, TokenService } from './token-service.js';

/** How the memory registry checks who is asking. */
export type RegistryAuth = { readonly kind: 'open' } | BasicAuthOptions | TokenAuthOptions;

export interface BasicAuthOptions {
  readonly kind: 'basic';
  readonly username: string;
  readonly password: string;
}

/** Guards the registry's endpoints. */
export interface Guard {
  /** @throws RegistryError UNAUTHORIZED */
  check(headers: IncomingHttpHeaders, wanted: Scope | undefined): void;
  /** The value of `WWW-Authenticate`. */
  challenge(wanted: Scope | undefined, error: RegistryError): string;
}

export const openGuard: Guard = {
  check: () => undefined,
  challenge: () => 'Basic realm="memory-registry"',
};

/** @param current read at every request, so that a test can change the password */
export function basicGuard(current: () => { readonly username: string; readonly password: string }): Guard {
  return {
    check: (headers) => {
      const { username, password } = current();
      const shown = parseBasic(headers.authorization);
      if (shown?.username === username && shown.password === password) return;
      throw new RegistryError('UNAUTHORIZED');
    },
    challenge: () => 'Basic realm="memory-registry"',
  };
}

export function tokenGuard(tokens: TokenService): Guard {
  return {
    check: (headers, wanted) => {
      const token = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1];
      if (token === undefined) throw unauthorized(wanted);
      const known = tokens.known(token);
      if (!known) throw unauthorized(wanted, 'invalid_token');
      if (wanted && !tokens.covers(known, wanted)) throw unauthorized(wanted, 'insufficient_scope');
    },
    challenge: (wanted, error) => {
      const parameters = new Map([
        ['realm', tokens.realm],
        ['service', tokens.service],
      ]);
      if (wanted) parameters.set('scope', printScope(wanted));
      if (error.bearerError) parameters.set('error', error.bearerError);
      return printChallenge({ scheme: 'bearer', parameters });
    },
  };
}

function unauthorized(wanted: Scope | undefined, bearerError?: 'invalid_token' | 'insufficient_scope') {
  return new RegistryError('UNAUTHORIZED', {
    ...(bearerError && { bearerError }),
    ...(wanted && { detail: { Type: wanted.type, Name: wanted.name, Action: wanted.actions.join(',') } }),
  });
}
