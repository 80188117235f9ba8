#!/usr/bin/env node
import { Command } from 'commander';
import { configurationJsonSchema } from '../config/json-schema.js';
import { createLog } from '../observability/pino-log.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { builtInDrivers } from '../plugins/built-in.js';
import { addAwsCertificatesCommand } from './aws-certificates.js';
import { addBindingsCommands } from './bindings.js';
import { addCacheCommands } from './cache.js';
import { checkOpening, checkWarnings } from './check.js';
import { checkConnections, connectTimeout } from './check-connect.js';
import { configOption } from './config-option.js';
import { exitCodes, fail } from './exit.js';
import { explain } from './explain.js';
import { failureOf } from './failure.js';
import type { Surroundings } from './opener.js';
import { failedPolicyTests } from './policy-tests.js';
import { addProbeCommand } from './probe.js';
import { QuestionError } from './question-error.js';
import { requireConfiguration, serve } from './serve.js';
import { addTokensCommands } from './tokens.js';
import { versionLine } from './version.js';

/** For commands that only look: what is worth a log line is an answer here. */
function quiet(): Surroundings {
  return { clock: Date, log: createLog('error', process.stderr), metrics: new PrometheusMetrics() };
}

function list(text: string): readonly string[] {
  return text.split(',').filter((part) => part !== '');
}

function attribute(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new QuestionError('--attribute: expected NAME=VALUE');
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

const program = new Command('docker-registry-proxy')
  .description(
    'A registry front under your own domain: verifies who asks, decides what they may, forwards the rest.',
  )
  .version(versionLine('docker-registry-proxy'))
  .exitOverride()
  .showHelpAfterError('(--help shows the options)');

program
  .command('serve')
  .description('run the proxy until SIGTERM')
  .requiredOption(...configOption)
  .addHelpText(
    'after',
    '\nExample:\n  docker-registry-proxy serve --config /etc/docker-registry-proxy/config.yaml',
  )
  .action(({ config }: { config: string }) => serve(config));

program
  .command('check')
  .description(
    'list every problem it can find in a configuration; exits with 2 where there is one, with 1 where a test of the policy or a connection fails',
  )
  .requiredOption(...configOption)
  .option(
    '--connect',
    'then ask each upstream for /v2/ and a token, with the configured credentials, and print what works',
    false,
  )
  .option('--timeout <duration>', 'with --connect: for each upstream (default: 30s)')
  .addHelpText(
    'after',
    '\nExamples:\n  docker-registry-proxy check --config config.yaml\n  docker-registry-proxy check --config config.yaml --connect --timeout 10s',
  )
  .action(async ({ config, connect, timeout }: { config: string; connect: boolean; timeout?: string }) => {
    const patience = connectTimeout({ connect, ...(timeout !== undefined && { timeout }) });
    const configuration = await requireConfiguration(config);
    const problems = await checkOpening(configuration, quiet());
    if (problems.length > 0) fail(problems.join('\n'), exitCodes.usage);
    for (const warning of await checkWarnings(configuration, quiet())) {
      process.stderr.write(`warning: ${warning}\n`);
    }
    const { length: tests } = configuration.policyTests;
    const failed = tests > 0 ? await failedPolicyTests(configuration, quiet()) : [];
    if (failed.length > 0) fail(failed.join('\n'), exitCodes.failed);
    const verdict = connect ? 'the configuration is fine' : 'fine';
    process.stdout.write(`${config}: ${verdict}${tests > 0 ? `, policy tests passed: ${tests}` : ''}\n`);
    if (connect) await checkConnections(configuration, quiet(), patience);
  });

program
  .command('schema')
  .description('print the JSON Schema of the configuration, for editors')
  .addHelpText('after', '\nExample:\n  docker-registry-proxy schema > docker-registry-proxy.schema.json')
  .action(async () => {
    process.stdout.write(`${JSON.stringify(await configurationJsonSchema(builtInDrivers), undefined, 2)}\n`);
  });

program
  .command('explain')
  .description('say which rule decides, and where a request would be sent; exits with 1 where it is denied')
  .requiredOption(...configOption)
  .requiredOption('--as <name>', "the principal, with its verifier's id: corp:alice")
  .option('--groups <groups>', 'its groups, separated by commas', list, [])
  .option('--attribute <name=value>', 'an attribute of it; may be repeated', attribute, {})
  .requiredOption('--repository <name>', 'the repository, as clients name it')
  .requiredOption('--action <action>', 'pull, push or delete')
  .option('--host <host>', 'the served host that is asked, where there are several')
  .option('--address <address>', "the client's address, for conditions; 127.0.0.1 without it")
  .option('--time <time>', 'when it is asked, such as 2026-01-31T12:00:00Z, for conditions; now without it')
  .addHelpText(
    'after',
    '\nExample:\n  docker-registry-proxy explain --config config.yaml --as corp:alice --groups developers --repository infra/app --action pull',
  )
  .action(
    async (options: {
      config: string;
      as: string;
      groups: readonly string[];
      attribute: Readonly<Record<string, string>>;
      repository: string;
      action: string;
      host?: string;
      address?: string;
      time?: string;
    }) => {
      const configuration = await requireConfiguration(options.config);
      const { allowed, text } = await explain(
        configuration,
        { ...options, attributes: options.attribute },
        quiet(),
      );
      process.stdout.write(`${text}\n`);
      process.exitCode = allowed ? exitCodes.fine : exitCodes.failed;
    },
  );

addProbeCommand(program);
addTokensCommands(program.command('tokens'), quiet);
addBindingsCommands(program.command('bindings'), quiet);
addCacheCommands(program.command('cache'), quiet);
addAwsCertificatesCommand(program);

// `schema | head`: the reader may leave early.
process.stdout.on('error', () => process.exit(exitCodes.fine));

try {
  await program.parseAsync();
} catch (error) {
  const { message, code } = failureOf(error);
  if (message === undefined) process.exit(code);
  fail(message, code);
}
