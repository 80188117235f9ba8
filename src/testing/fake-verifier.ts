import type { CallOptions } from '../contracts/call-options.js';
import type { Principal } from '../contracts/principal.js';
import type { ClientCredentials, Verifier } from '../contracts/verifier.js';
import { RegistryError } from '../errors.js';

/** A user of the fake: a password, or a bearer token, and what becomes the principal. */
export interface FakeUser extends Partial<Omit<Principal, 'verifier' | 'name'>> {
  readonly password?: string;
  readonly bearer?: string;
}

/** Users in a map, changed at any time. A user name or a token it does not know is not its own. */
export class FakeVerifier implements Verifier {
  readonly id: string;
  readonly users: Map<string, FakeUser>;
  /** What it was asked, in order. */
  readonly asked: ClientCredentials[] = [];
  /** True: it answers UNAVAILABLE. */
  broken = false;
  closed = false;

  constructor(id: string, users: Readonly<Record<string, FakeUser>> = {}) {
    this.id = id;
    this.users = new Map(Object.entries(users));
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    this.asked.push(credentials);
    const { shown } = credentials;
    if (shown.kind === 'none') return undefined;
    this.#requireWorking();
    if (shown.kind === 'bearer') {
      const found = [...this.users].find(([, user]) => user.bearer === shown.token.reveal());
      return found && this.#principal(...found);
    }
    const user = this.users.get(shown.username);
    if (!user) return undefined;
    if (shown.password.isEmpty || user.password !== shown.password.reveal()) {
      throw new RegistryError('UNAUTHORIZED', { reason: 'wrong password', knownUser: true });
    }
    return this.#principal(shown.username, user);
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    this.#requireWorking();
    const user = this.users.get(known.name);
    return user && this.#principal(known.name, user);
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  #requireWorking(): void {
    if (this.broken) throw new RegistryError('UNAVAILABLE', { reason: `verifier ${this.id} is broken` });
  }

  #principal(name: string, user: FakeUser): Principal {
    const { kind = 'human', groups = [], attributes = {}, expiresAt } = user;
    return {
      verifier: this.id,
      name,
      kind,
      groups,
      attributes,
      ...(expiresAt !== undefined && { expiresAt }),
    };
  }
}
