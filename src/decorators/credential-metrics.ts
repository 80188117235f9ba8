import type { Metrics } from '../contracts/index.js';
import type { CredentialOwner } from './credential-owner.js';

/** What is known of one credential when somebody looks; undefined where it is not known. */
export interface CredentialState {
  /** 1: it could be used now. 0: there is none, none can be had, or the registry refused it. */
  usable(): number | undefined;
  /** Seconds since its value last changed. */
  age(): number | undefined;
  /** Seconds until it ends. */
  expiry(): number | undefined;
}

export type FetchResult = 'obtained' | 'none' | 'failed';

export interface CredentialMetrics {
  /** The source was asked. */
  fetched(result: FetchResult): void;
  /** @returns ends it: the values are gone then */
  follow(state: CredentialState): () => void;
}

/** What they are called, and whose they are: the metrics of upstreams and those of rules differ in nothing else. */
interface Naming {
  readonly prefix: string;
  readonly of: string;
  readonly labels: Readonly<Record<string, string>>;
}

function namingOf(owner: CredentialOwner): Naming {
  if ('rule' in owner) {
    return { prefix: 'image_rule_credential', of: 'rule', labels: { rule: owner.rule } };
  }
  const { upstream, credential } = owner;
  const labels = { upstream, credential: String(credential) };
  return { prefix: 'upstream_credential', of: 'upstream', labels };
}

export function credentialMetrics(metrics: Metrics, owner: CredentialOwner): CredentialMetrics {
  const { prefix, of, labels } = namingOf(owner);
  const names = Object.keys(labels);
  const usable = metrics.gauge(
    `${prefix}_usable`,
    `1 where a credential for the ${of} could be used now; 0 where there is none, or it was refused`,
    names,
    'min',
  );
  const age = metrics.gauge(
    `${prefix}_age_seconds`,
    `Since a credential for the ${of} was had that is another than the one before`,
    names,
    'max',
  );
  const expiry = metrics.gauge(
    `${prefix}_expiry_seconds`,
    `Until the credential for the ${of} ends`,
    names,
    'min',
  );
  const fetches = metrics.counter(
    `${prefix}_fetches_total`,
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
