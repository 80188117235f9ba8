import type { Adapter, AdapterPayload } from 'oidc-provider';

interface Stored {
  readonly payload: AdapterPayload;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** What an OpenID provider remembers: it outlives the provider that was made with certain keys. */
export class ProviderStorage {
  readonly #stored = new Map<string, Stored>();

  /** As oidc-provider wants it: one for each kind of thing. */
  readonly adapterFor = (model: string): Adapter => {
    const find = (matches: (payload: AdapterPayload) => boolean) =>
      [...this.#stored].find(([key, { payload }]) => key.startsWith(`${model}:`) && matches(payload))?.[1]
        .payload;
    return {
      upsert: async (id, payload, expiresIn) => {
        const until = expiresIn !== undefined ? Date.now() + expiresIn * 1000 : Number.POSITIVE_INFINITY;
        this.#stored.set(`${model}:${id}`, { payload, until });
      },
      find: async (id) => {
        const found = this.#stored.get(`${model}:${id}`);
        return found !== undefined && Date.now() < found.until ? found.payload : undefined;
      },
      findByUid: async (uid) => find((payload) => payload.uid === uid),
      findByUserCode: async (userCode) => find((payload) => payload.userCode === userCode),
      consume: async (id) => {
        const found = this.#stored.get(`${model}:${id}`);
        if (found !== undefined) found.payload.consumed = Math.floor(Date.now() / 1000);
      },
      destroy: async (id) => {
        this.#stored.delete(`${model}:${id}`);
      },
      revokeByGrantId: async (grantId) => {
        for (const [key, { payload }] of this.#stored)
          if (payload.grantId === grantId) this.#stored.delete(key);
      },
    };
  };
}
