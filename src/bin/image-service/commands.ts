import { type Command, Option } from 'commander';
import { usualAdminSocket, usualSocket } from '../../config/image-service/usual-places.js';
import { allowOption } from '../allow-option.js';
import type { CommandProcess } from '../command-process.js';
import { configOption } from '../config-option.js';
import { exitCodes } from '../exit.js';
import type { CheckOptions } from './check.js';
import type { ProbeOptions } from './probe.js';
import type { ServeOptions } from './serve.js';
import type { StatusOptions } from './status.js';

// What a command needs is loaded when it runs: `serve` stays small, and `probe` starts fast.

const usualConfig = '/etc/kubelet-image-service/config.yaml';

/** Adds all commands but `credential-provider`. */
export function addImageServiceCommands(program: Command, own: CommandProcess = process): void {
  addServe(program);
  addCheck(program, own);
  addSchema(program, own);
  addProbe(program, own);
  addStatus(program, own);
}

function addServe(program: Command): void {
  program
    .command('serve')
    .description(
      "answer kubelet's image calls until SIGTERM, and pull images with the credentials of the rules",
    )
    .requiredOption(...configOption)
    .addOption(allowOption())
    .option(
      '--replace',
      'take the sockets from another instance that serves there; it finishes what it has begun. For updates in which the next one starts first',
      false,
    )
    .addHelpText('after', `\nExample:\n  kubelet-image-service serve --config ${usualConfig}`)
    .action(async (options: ServeOptions) => {
      const { serveImageService } = await import('./serve.js');
      await serveImageService(options);
    });
}

function addCheck(program: Command, own: CommandProcess): void {
  program
    .command('check')
    .description(
      'list every problem it can find in a configuration; exits with 2 where there is one. Asks nobody',
    )
    .requiredOption(...configOption)
    .addOption(allowOption())
    .addHelpText('after', `\nExample:\n  kubelet-image-service check --config ${usualConfig}`)
    .action(async (options: CheckOptions) => {
      const { checkImageService } = await import('./check.js');
      const { createLog } = await import('../../observability/pino-log.js');
      const { noMetrics } = await import('../one-question/no-metrics.js');
      // What is worth a log line is an answer here.
      const surroundings = { clock: Date, log: createLog('error', own.stderr), metrics: noMetrics };
      await checkImageService(options, surroundings, own);
    });
}

function addSchema(program: Command, own: CommandProcess): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration, for editors')
    .addHelpText('after', '\nExample:\n  kubelet-image-service schema > kubelet-image-service.schema.json')
    .action(async () => {
      const { imageServiceJsonSchema } = await import('../../config/image-service/json-schema.js');
      own.stdout.write(`${JSON.stringify(await imageServiceJsonSchema(), undefined, 2)}\n`);
    });
}

function addProbe(program: Command, own: CommandProcess): void {
  program
    .command('probe')
    .description(
      'ask an image service what kubelet asks first, until it answers; exits with 1 where kubelet could not start with it',
    )
    .requiredOption('--endpoint <unix:///path>', "the socket, as in kubelet's --image-service-endpoint")
    .option(
      '--timeout <duration>',
      'for all of it: while nobody listens, or the runtime is unavailable, it is asked again',
      '5s',
    )
    .addHelpText(
      'after',
      `\nExample, for a unit that starts before kubelet:\n  ExecStartPost=kubelet-image-service probe --endpoint unix://${usualSocket} --timeout 1m`,
    )
    .action(async (options: ProbeOptions) => {
      const { probe } = await import('./probe.js');
      const why = await probe(options);
      if (why === undefined) return;
      own.stderr.write(`${why}\n`);
      own.exitCode = exitCodes.failed;
    });
}

function addStatus(program: Command, own: CommandProcess): void {
  program
    .command('status')
    .description(
      'show running and recent pulls, the rules and their credentials, and the runtime; on a node with it, what is installed',
    )
    .option('--config <file>', 'the configuration of the service, which says where it is asked')
    .option('--endpoint <unix:///path>', `its admin.socket (default: unix://${usualAdminSocket})`)
    .option('--json', 'as JSON, with errors in full', false)
    .addOption(new Option('--root <directory>').hideHelp())
    .addHelpText(
      'after',
      `\nExamples:\n  kubelet-image-service status\n  kubelet-image-service status --config ${usualConfig} --json`,
    )
    .action(async (options: StatusOptions) => {
      const { showStatus } = await import('./status.js');
      await showStatus(options, own);
    });
}
