import type { Log } from '../../contracts/log.js';
import type { Metrics } from '../../contracts/metrics.js';
import type { CriRuntime, NodeRuntime, Runtime } from '../../contracts/runtime.js';
import { untilAborted } from '../../decorators/single-flight.js';
import { frame } from '../../grpc/frames.js';
import { imageServicePath } from '../../grpc/image-service-path.js';
import { askWhole, statusOf } from '../../grpc/whole-answer.js';
import { grpcStatus } from '../../protocol/grpc-status.js';

/** Milliseconds to wait for an engine. */
const patience = 2_000;
/** Milliseconds that an answer counts for: probes and people may ask at once. */
const keptFor = 1_000;

/** Milliseconds between two looks of our own. */
const lookEvery = 10_000;
const fsInfo = `${imageServicePath}ImageFsInfo`;
const headers = { ':path': fsInfo, 'content-type': 'application/grpc', te: 'trailers' };

/** What can be said of a runtime, once for all who ask within a second. */
interface Asked {
  readonly at: number;
  readonly answers: Promise<boolean>;
}

/** Whether the container runtime answers, and has images to give. */
export class RuntimeHealth {
  readonly #runtime: NodeRuntime;
  readonly #gauge: ReturnType<Metrics['gauge']> | undefined;
  readonly #log: Log;
  #asked: Asked | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isTold = false;

  constructor(runtime: NodeRuntime, { metrics, log }: { readonly metrics: Metrics; readonly log: Log }) {
    this.#runtime = runtime;
    this.#log = log;
    // Those that have a connection tell of it themselves.
    if (runtime.kind === 'cri') return;
    this.#gauge = metrics.gauge('runtime_connected', '1 while the container runtime answers, 0 otherwise');
  }

  /** Never rejects, and takes two seconds at most. An engine has no connection to look at: it is asked. */
  isConnected(): Promise<boolean> {
    const runtime = this.#runtime;
    return runtime.kind === 'cri'
      ? Promise.resolve(runtime.isConnected)
      : this.#once(() => this.#ask(runtime));
  }

  /**
   * Why no image can be had from it: one line, for people. Never rejects, and takes two seconds at most.
   *
   * @returns undefined where none is known
   */
  async problem(): Promise<string | undefined> {
    if (!(await this.isConnected())) return 'the container runtime does not answer';
    const runtime = this.#runtime;
    if (runtime.kind !== 'cri') return undefined;
    return (await this.#once(() => this.#servesImages(runtime))) ? undefined : withoutImages(runtime);
  }

  /** Looks now and then, so that the log tells also where nobody asks. Until `close`. */
  watch(): void {
    this.#timer = setInterval(() => void this.problem(), lookEvery).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #once(ask: () => Promise<boolean>): Promise<boolean> {
    const now = performance.now();
    if (this.#asked === undefined || now - this.#asked.at > keptFor) {
      this.#asked = { at: now, answers: ask() };
    }
    return this.#asked.answers;
  }

  async #servesImages(runtime: CriRuntime): Promise<boolean> {
    const serves = await servesImagesAsFarAsKnown(runtime);
    if (!serves && !this.#isTold) this.#log.error({}, withoutImages(runtime));
    if (serves && this.#isTold) this.#log.info({}, 'the container runtime serves images again');
    this.#isTold = !serves;
    return serves;
  }

  async #ask(runtime: Runtime): Promise<boolean> {
    const answers = await answersInTime(runtime);
    this.#gauge?.set({}, Number(answers));
    return answers;
  }
}

/** containerd as Docker packages it comes without its CRI plugin, and answers all the same. */
function withoutImages({ endpoint }: CriRuntime): string {
  return (
    `the container runtime at ${endpoint} serves no CRI image service: take \`cri\` out of \`disabled_plugins\` in ` +
    '/etc/containerd/config.toml and restart it'
  );
}

/** False where it says so itself: whatever else is wrong, the next pull may be fine. */
async function servesImagesAsFarAsKnown(runtime: CriRuntime): Promise<boolean> {
  const signal = AbortSignal.timeout(patience);
  try {
    const asked = askWhole(runtime, headers, frame(new Uint8Array()), signal);
    return statusOf(await untilAborted(asked, signal)) !== grpcStatus.UNIMPLEMENTED;
  } catch {
    return true;
  }
}

async function answersInTime(runtime: Runtime): Promise<boolean> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error('late')), patience);
  try {
    await untilAborted(runtime.ping({ signal: late.signal }), late.signal);
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
