import type {
  ImageServiceConfiguration,
  ServedImageConfiguration,
} from '../../config/image-service/configuration.js';
import type { NodeRuntime } from '../../contracts/runtime.js';
import type { CallFront } from '../../grpc/call-front.js';
import { CredentialRules } from '../../image-service/credential-rules.js';
import type { PullRegister } from '../../image-service/pull-register.js';
import { PullService } from '../../image-service/pull-service.js';
import type { AuditLog } from '../../observability/audit-log.js';
import type { Succeeding } from '../generation-succession.js';
import { openAudit } from '../open-audit.js';
import { Opener } from '../opener.js';
import { PartPool } from '../part-pool.js';
import type { ServiceSurroundings } from '../run-service.js';
import { type OpenedRule, openRules } from './open-rules.js';

/** What one configuration was made into. */
export interface ImageServiceGeneration extends Succeeding<ServedImageConfiguration> {
  readonly front: CallFront;
  readonly rules: readonly OpenedRule[];
}

/** What all generations share. */
export interface GenerationParts {
  readonly runtime: NodeRuntime;
  readonly register: PullRegister;
}

/** Opens generations, each with the parts of earlier ones where it says the same about them. */
export class ImageServiceGenerations {
  readonly #surroundings: ServiceSurroundings;
  readonly #parts: GenerationParts;
  readonly #pool = new PartPool();

  constructor(surroundings: ServiceSurroundings, parts: GenerationParts) {
    this.#surroundings = surroundings;
    this.#parts = parts;
  }

  /** @throws OpeningError; nothing of it is left open then */
  async open(configuration: ServedImageConfiguration): Promise<ImageServiceGeneration> {
    const opener = new Opener(configuration, this.#surroundings, this.#pool);
    try {
      const audit = await openAudit(opener, configuration, this.#surroundings, { mayComeLater: true });
      const rules = await openRules(opener, configuration);
      const front = await this.#openFront(configuration, rules, audit);
      return {
        ...{ configuration, front, rules },
        keepReady: () => {
          for (const rule of rules) rule.keepReady();
        },
        reopenFiles: () => audit?.reopen(),
        close: () => opener.close(),
      };
    } catch (error) {
      await opener.close();
      throw error;
    }
  }

  /** Only the front that is needed is loaded: the one for engines decodes messages, and costs as much as all the rest. */
  async #openFront(
    { credentialTimeout }: ImageServiceConfiguration,
    rules: readonly OpenedRule[],
    audit: AuditLog | undefined,
  ): Promise<CallFront> {
    const { clock, log, metrics } = this.#surroundings;
    const { runtime, register } = this.#parts;
    const pulls = new PullService({
      rules: new CredentialRules(rules.map(({ rule }) => rule)),
      ...{ register, clock, log, metrics, credentialTimeout },
      ...(audit && { audit }),
      tellsProgress: runtime.kind === 'engine',
    });
    if (runtime.kind === 'cri') {
      const { CriFront } = await import('../../grpc/cri-front.js');
      return new CriFront({ runtime, pulls, clock, log, metrics });
    }
    const { EngineFront } = await import('../../grpc/engine-front.js');
    return new EngineFront({ runtime, pulls, log });
  }
}
