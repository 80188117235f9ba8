import type { Metrics } from '../contracts/index.js';

/** What is known of one credential when somebody looks; undefined where it is not known. */
export interface CredentialState {
  /** 1: it could be used now. 0: there is none, none can be had, or the registry refused it. */
  usable(): number | undefined;
  /** Seconds since its value last changed. */
  age(): number | undefined;
  /** Seconds until it ends. */
  expiry(): number | undefined;
}

export interface CredentialMetrics {
  /** The source was asked. */
  fetched(result: 'obtained' | 'none' | 'failed'): void;
  /** @returns ends it: the values are gone then */
  follow(state: CredentialState): () => void;
}

/**
 * @param upstream its configured name
 * @param credential its place among the credentials of the upstream, from 1
 */
export function credentialMetrics(metrics: Metrics, upstream: string, credential: number): CredentialMetrics {
  const names = ['upstream', 'credential'];
  const labels = { upstream, credential: String(credential) };
  const usable = metrics.gauge(
    'upstream_credential_usable',
    '1 where a credential for the upstream could be used now; 0 where there is none, or it was refused',
    names,
  );
  const age = metrics.gauge(
    'upstream_credential_age_seconds',
    'Since a credential for the upstream was had that is another than the one before',
    names,
  );
  const expiry = metrics.gauge(
    'upstream_credential_expiry_seconds',
    'Until the credential for the upstream ends',
    names,
  );
  const fetches = metrics.counter(
    'upstream_credential_fetches_total',
    'How often a credential source was asked, and what came of it',
    [...names, 'result'],
  );
  return {
    fetched: (result) => fetches.add({ ...labels, result }),
    follow: (state) => {
      const ends = [
        usable.follow(labels, () => state.usable()),
        age.follow(labels, () => state.age()),
        expiry.follow(labels, () => state.expiry()),
      ];
      return () => {
        for (const end of ends) end();
      };
    },
  };
}
