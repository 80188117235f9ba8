#!/usr/bin/env node
import { Command } from 'commander';
import { addCredentialProviderCommand } from './credential-provider/command.js';
import { exitCodes, fail } from './exit.js';
import { addImageServiceCommands } from './image-service/commands.js';
import { addNodeInstallerCommands } from './node-installer/commands.js';
import { versionLine } from './version.js';

const program = new Command('kubelet-image-service')
  .description(
    'A CRI image service for kubelet: pulls private images with credentials that no pod has to bring.',
  )
  .version(versionLine('kubelet-image-service'))
  .exitOverride()
  .showHelpAfterError('(--help shows the options)');

addImageServiceCommands(program);
addCredentialProviderCommand(program);
addNodeInstallerCommands(program);

// `schema | head`: the reader may leave early.
process.stdout.on('error', () => process.exit(exitCodes.fine));

// No `await` at the top level: the self-contained executable is CommonJS.
void run();

async function run(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    // Loaded where it is needed: it knows the errors of every command.
    const { failureOf } = await import('./failure.js');
    const { message, code } = failureOf(error);
    if (message === undefined) process.exit(code);
    fail(message, code);
  }
}
