import { request } from 'node:http';
import { connect } from 'node:net';
import type { Command } from 'commander';
import { coreSchema } from '../config/core-schema.js';
import { isMapping } from '../config/mapping.js';
import { formatProblem } from '../config/problem.js';
import { readYamlFile } from '../config/yaml-file.js';
import { hasCode } from '../errors.js';
import { readBounded } from '../protocol/read-bounded.js';
import { duration } from '../settings/duration.js';
import { type ListenAddress, printListenAddress } from '../settings/listen-address.js';
import { CommandFailure } from './command-failure.js';
import type { CommandProcess } from './command-process.js';
import { configOption } from './config-option.js';
import { exitCodes } from './exit.js';
import { QuestionError } from './question-error.js';

/** Bytes of `/readyz`: a word. */
const maxAnswer = 1024;

/** Adds `probe`. */
export function addProbeCommand(
  program: Command,
  { stdout }: Pick<CommandProcess, 'stdout'> = process,
): void {
  program
    .command('probe')
    .description(
      'ask the proxy that runs with a configuration on this machine whether it takes requests; exits with 1 where it does not',
    )
    .requiredOption(...configOption)
    .option('--timeout <duration>', 'for all of it', '5s')
    .addHelpText(
      'after',
      '\nAsks /readyz where the configuration has `admin`; connects to `listen` where it has none.\n\nExample:\n  docker-registry-proxy probe --config /etc/docker-registry-proxy/config.yaml',
    )
    .action(async ({ config, timeout }: { config: string; timeout: string }) => {
      const time = duration({ min: '100ms', max: '10m' }).safeParse(timeout);
      if (!time.success) throw new QuestionError(`--timeout: ${time.error.issues[0]?.message}`);
      const { listen, admin } = await addressesOf(config);
      const why = await (admin ? askReady(admin, time.data) : tryConnection(listen, time.data));
      if (why !== undefined) throw new CommandFailure(why, exitCodes.failed);
      stdout.write('ready\n');
    });
}

interface Addresses {
  readonly listen: ListenAddress;
  readonly admin: ListenAddress | undefined;
}

/**
 * No more than the two settings: it is asked every few seconds, beside a proxy that has checked the rest, and needs no
 * secret that the configuration names.
 *
 * @throws CommandFailure
 */
async function addressesOf(file: string): Promise<Addresses> {
  const refused = (message: string) => new CommandFailure(message, exitCodes.usage);
  const read = await readYamlFile(file);
  if ('problems' in read) throw refused(read.problems.map(formatProblem).join('\n'));
  const settings = coreSchema.pick({ listen: true, admin: true });
  const { value } = read;
  const asked = isMapping(value) ? { listen: value.listen, admin: value.admin } : {};
  const { success, data, error } = settings.safeParse(asked);
  if (!success) {
    const [issue] = error.issues;
    throw refused(`${file}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { listen, admin } = data;
  const isUnknown = (admin?.listen ?? listen).port === 0;
  if (isUnknown)
    throw refused(
      `${file}: ${admin ? 'admin.listen' : 'listen'}: expected a port other than 0: nobody can know it`,
    );
  return { listen, admin: admin?.listen };
}

/** Who listens on all addresses is asked at this machine's own. */
const reachable = ({ host, port }: ListenAddress) => ({
  host: host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host,
  port,
});

/** @returns why it takes no requests; undefined where it does */
function askReady(address: ListenAddress, time: number): Promise<string | undefined> {
  const where = `http://${printListenAddress(reachable(address))}/readyz`;
  const signal = AbortSignal.timeout(time);
  return new Promise((resolve) => {
    const failed = (error: unknown) => resolve(`${where}: ${reasonOf(error, time)}`);
    const options = { ...reachable(address), path: '/readyz', agent: false, signal };
    const asked = request(options, (response) => {
      readBounded(response, maxAnswer, time).then((bytes) => {
        const said = bytes?.toString().trim() ?? '';
        const isOurs = response.statusCode === 503 && /^[ -~]{1,100}$/.test(said);
        resolve(
          response.statusCode === 200
            ? undefined
            : `${where}: ${response.statusCode}${isOurs ? ` ${said}` : ''}`,
        );
      }, failed);
    });
    asked.on('error', failed).end();
  });
}

/** The proxy listens there when it is ready, and no longer. @returns why it takes no requests; undefined where it does */
function tryConnection(address: ListenAddress, time: number): Promise<string | undefined> {
  const signal = AbortSignal.timeout(time);
  return new Promise((resolve) => {
    const socket = connect(reachable(address));
    const end = (why: string | undefined) => {
      socket.destroy();
      resolve(why);
    };
    const failed = (error: unknown) => end(`${printListenAddress(address)}: ${reasonOf(error, time)}`);
    signal.addEventListener('abort', () => failed(signal.reason), { once: true });
    socket.once('error', failed).once('connect', () => end(undefined));
  });
}

/** @param time milliseconds it had */
function reasonOf(error: unknown, time: number): string {
  if (hasCode(error, 'ECONNREFUSED')) return 'nobody listens there';
  const isLate = hasCode(error, 'ABORT_ERR') || (error instanceof Error && error.name === 'TimeoutError');
  if (isLate) return `no answer within ${time / 1000} s`;
  return error instanceof Error ? error.message : String(error);
}
