import type { PullRecord } from '../../image-service/pull-register.js';
import { time } from '../listed.js';
import { printable, textTable } from '../text-table.js';
import type { RuleReport, ServiceReport } from './service-report.js';

/** What `/pulls` says, for people. @param now milliseconds since the epoch */
export function statusText(
  { version, startedAt, runtime, rules, running, recent }: ServiceReport,
  now: number,
): string {
  const { type, endpoint, connected, problem } = runtime;
  const where = endpoint === undefined ? type : `${type} ${endpoint}`;
  const head = [
    `kubelet-image-service ${version}, serving since ${time(Date.parse(startedAt))}`,
    `runtime: ${where}, ${connected ? 'connected' : 'NOT CONNECTED'}`,
    ...(connected && problem !== undefined ? [`NOT USABLE: ${problem}`] : []),
  ];
  return [
    head.map((line) => `${printable(line)}\n`).join(''),
    rules.length === 0 ? 'no rules: images are pulled as kubelet asks for them\n' : ruleTable(rules, now),
    running.length + recent.length === 0 ? 'no pulls yet\n' : pullTable([...running, ...recent]),
  ].join('\n');
}

function ruleTable(rules: readonly RuleReport[], now: number): string {
  const rows = rules.map(({ name, source, credential, refused }) =>
    [name, source ?? '-', source === undefined ? 'none' : credentialText(credential, refused, now)].map(
      printable,
    ),
  );
  return textTable([['RULE', 'SOURCE', 'CREDENTIAL'], ...rows]);
}

function credentialText(
  credential: RuleReport['credential'],
  refused: RuleReport['refused'],
  now: number,
): string {
  if (credential === undefined) return 'not asked for yet';
  const { result, at, expiresAt, reason } = credential;
  const ago = since(at, now);
  if (result !== 'failed' && refused !== undefined) {
    return `refused ${since(refused.at, now)} (401 from ${refused.registry})`;
  }
  if (result === 'none') return `its source had none, ${ago}`;
  if (result === 'failed') return `FAILED ${ago}: ${shortened(reason ?? 'the log says why')}`;
  return expiresAt === undefined ? `had ${ago}` : `had ${ago}, until ${time(Date.parse(expiresAt))}`;
}

function since(at: string, now: number): string {
  return `${elapsed(Math.max(now - Date.parse(at), 0))} ago`;
}

function pullTable(pulls: readonly PullRecord[]): string {
  const rows = pulls.map((pull) =>
    [
      pull.state,
      pull.image,
      pull.pod === undefined ? '-' : `${pull.pod.namespace}/${pull.pod.name}`,
      credentialOf(pull),
      elapsed(pull.duration),
      progressOf(pull),
      shortened(pull.error ?? ''),
    ].map(printable),
  );
  const heads = ['STATE', 'IMAGE', 'POD', 'CREDENTIAL', 'TIME', 'PROGRESS', 'ERROR'];
  return textTable([heads, ...rows]);
}

/** Whose it was: where it was a rule's, the source tells people more than the pattern does. */
function credentialOf({ credential, source }: PullRecord): string {
  return credential === 'rule' && source !== undefined ? source : credential;
}

function progressOf({ bytes, layers }: PullRecord): string {
  const done = [
    ...(bytes === undefined ? [] : [byteSize(bytes)]),
    ...(layers === undefined ? [] : [`${layers.done}/${layers.total} layers`]),
  ];
  return done.length === 0 ? '-' : done.join(', ');
}

/** Characters of what went wrong: a line of a table is to be read as one. */
const longestReason = 100;

function shortened(reason: string): string {
  return reason.length > longestReason ? `${reason.slice(0, longestReason - 1)}…` : reason;
}

const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** As docker and crictl print it: `1.2 GB` is 1.2e9 bytes. */
export function byteSize(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${unit > 0 && size < 9.95 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** `0.8s`, `12s`, `3m10s`, `2h5m`, `3d`. @param duration milliseconds */
export function elapsed(duration: number): string {
  if (duration < 9_950) return `${(duration / 1000).toFixed(1)}s`;
  const seconds = Math.round(duration / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)}h${minutes % 60}m`;
  return `${Math.floor(minutes / 1440)}d`;
}
