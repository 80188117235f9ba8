import type { TransientService } from '../contracts/node.js';

/** Arguments of `StartTransientUnit` (org.freedesktop.systemd1(5)), with their signature. */
export interface TransientCall {
  /** The unit whose job is started: the service, or the timer before it. */
  readonly unit: string;
  readonly signature: 'ssa(sv)a(sa(sv))';
  readonly body: readonly unknown[];
}

type Property = readonly [name: string, value: readonly [signature: string, value: unknown]];

/** @throws an Error where the name is no service's */
export function transientCall(service: TransientService): TransientCall {
  if (!service.name.endsWith('.service'))
    throw new Error(`${service.name}: a name that ends in .service was expected`);
  const signature = 'ssa(sv)a(sa(sv))';
  // `fail`: a job of that name that waits is somebody's at work.
  const mode = 'fail';
  if (service.after === undefined) {
    const body = [service.name, mode, serviceProperties(service), []];
    return { unit: service.name, signature, body };
  }
  const unit = service.name.replace(/\.service$/, '.timer');
  const body = [
    unit,
    mode,
    timerProperties(service, service.after),
    [[service.name, serviceProperties(service)]],
  ];
  return { unit, signature, body };
}

function serviceProperties(service: TransientService): readonly Property[] {
  const { description, command, timeLimit, isRepeated } = service;
  // systemd would put its own variables in (systemd.service(5), COMMAND LINES); specifiers it leaves alone here.
  const words = command.map((word) => word.replaceAll('$', '$$$$'));
  return [
    ['Description', ['s', description]],
    // The job ends when the program has been executed, so that a missing one is told.
    ['Type', ['s', 'exec']],
    // A failed one would keep its name, and the next run would take it for somebody at work.
    ['CollectMode', ['s', 'inactive-or-failed']],
    ['ExecStart', ['a(sasb)', [[command[0], words, false]]]],
    ...(timeLimit === undefined ? [] : [property('RuntimeMaxUSec', 't', timeLimit * 1000)]),
    ...(isRepeated ? repeated : []),
  ];
}

const property = (name: string, signature: string, value: unknown): Property => [name, [signature, value]];

/** Three starts in ten minutes, five seconds between two. */
const repeated: readonly Property[] = [
  property('Restart', 's', 'on-failure'),
  property('RestartUSec', 't', 5_000_000),
  property('StartLimitIntervalUSec', 't', 600_000_000),
  property('StartLimitBurst', 'u', 3),
];

function timerProperties({ description }: TransientService, after: number): readonly Property[] {
  return [
    ['Description', ['s', description]],
    ['TimersMonotonic', ['a(st)', [['OnActiveSec', Math.round(after * 1000)]]]],
    // The default lets a timer fire up to a minute late (systemd.timer(5), AccuracySec=).
    ['AccuracyUSec', ['t', 1_000_000]],
    ['RemainAfterElapse', ['b', false]],
    ['CollectMode', ['s', 'inactive-or-failed']],
  ];
}
