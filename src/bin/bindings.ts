import type { Command } from 'commander';
import { nameGrammar } from '../config/core-schema.js';
import { bindingsPrefix, subjectGrammar } from '../verifiers/machine/first-use.js';
import { forgotten, inOrder, isProof, json, readBinding, table } from './binding-list.js';
import type { CommandProcess } from './command-process.js';
import { configOption } from './config-option.js';
import { exitCodes } from './exit.js';
import { withState } from './guest-state.js';
import type { Surroundings } from './opener.js';
import { QuestionError } from './question-error.js';
import { requireConfiguration } from './serve.js';
import { printable } from './text-table.js';

/** What a command is given beside its options. */
interface Place {
  readonly surroundings: () => Surroundings;
  readonly process: CommandProcess;
}

/** Adds `bindings list` and `bindings forget`, which work beside a running proxy and without one. */
export function addBindingsCommands(
  bindings: Command,
  surroundings: () => Surroundings,
  own: CommandProcess = process,
): void {
  const place = { surroundings, process: own };
  bindings.description(
    'list what machines are bound to since their first use, and free them, while the proxy runs or not',
  );
  addList(bindings, place);
  addForget(bindings, place);
}

function addList(bindings: Command, place: Place): void {
  bindings
    .command('list')
    .description('list the machines, each with the address or nonce that showed its identity first')
    .requiredOption(...configOption)
    .option('--verifier <id>', 'only those of this verifier')
    .option(
      '--all',
      'also tokens and signed requests, which end by themselves within minutes or hours',
      false,
    )
    .option('--json', 'a JSON array instead of a table', false)
    .addHelpText(
      'after',
      '\nExamples:\n  docker-registry-proxy bindings list --config config.yaml --verifier aws' +
        "\n  docker-registry-proxy bindings list --config config.yaml --json | jq '.[].subject'",
    )
    .action((options: ListOptions) => list(options, place));
}

interface ListOptions {
  readonly config: string;
  readonly verifier?: string;
  readonly all: boolean;
  readonly json: boolean;
}

/** @throws QuestionError; what `withState` throws */
async function list(
  { config, verifier, all, ...options }: ListOptions,
  { surroundings, process }: Place,
): Promise<void> {
  const configuration = await requireConfiguration(config);
  await withState(configuration, surroundings(), async (state, o) => {
    const found = (await state.list(prefixOf(verifier), o)).map(readBinding);
    for (const { key } of found.filter((one) => 'key' in one))
      process.stderr.write(`${printable(key)}: its record cannot be read: forget it\n`);
    const shown = inOrder(found.filter((one) => 'subject' in one)).filter((one) => all || !isProof(one));
    process.stdout.write(options.json ? `${json(shown)}\n` : table(shown));
  });
}

function addForget(bindings: Command, place: Place): void {
  bindings
    .command('forget')
    .description(
      'free a machine: whoever shows its identity next is bound to it; exits with 1 where it was not bound',
    )
    .requiredOption(...configOption)
    .requiredOption('--verifier <id>', "the verifier's id")
    .requiredOption('--subject <subject>', 'as `bindings list` shows it')
    .addHelpText(
      'after',
      '\nExample:\n  docker-registry-proxy bindings forget --config config.yaml --verifier aws --subject 123456789012/i-0123456789abcdef0',
    )
    .action((options: ForgetOptions) => forget(options, place));
}

interface ForgetOptions {
  readonly config: string;
  readonly verifier: string;
  readonly subject: string;
}

/** @throws QuestionError; what `withState` throws */
async function forget(
  { config, verifier, subject }: ForgetOptions,
  { surroundings, process }: Place,
): Promise<void> {
  if (!subjectGrammar.test(subject))
    throw new QuestionError('--subject: expected one as `bindings list` shows it');
  const key = `${prefixOf(verifier)}${subject}`;
  const configuration = await requireConfiguration(config);
  await withState(configuration, surroundings(), async (state, o) => {
    const entry = await state.get(key, o);
    if (entry === undefined) {
      process.stdout.write(`${subject} is not bound by ${verifier}: nothing was forgotten.\n`);
      process.exitCode = exitCodes.failed;
      return;
    }
    await state.delete(key, o);
    process.stdout.write(`${forgotten(readBinding(entry))}\n`);
  });
}

/** @throws QuestionError */
function prefixOf(verifier: string | undefined): string {
  if (verifier === undefined) return bindingsPrefix;
  if (!nameGrammar.test(verifier)) throw new QuestionError("--verifier: expected a verifier's id");
  return `${bindingsPrefix}${verifier}/`;
}
