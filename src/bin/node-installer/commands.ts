import { type Command, Option } from 'commander';
import { usualSocket } from '../../config/image-service/usual-places.js';
import type { GuardOptions } from '../../node-installer/guard.js';
import { allowOption } from '../allow-option.js';
import type { CommandProcess } from '../command-process.js';
import type { InstallOptions, RunOptions } from './install-options.js';
import type { KubeletArgumentsOptions } from './kubelet-arguments.js';

// What a command needs is loaded when it runs: kubelet's start waits for `kubelet-arguments`.

const usualConfig = '/etc/kubelet-image-service/config.yaml';

/** What this process is to `kubelet-arguments`. */
export interface ArgumentsProcess extends CommandProcess {
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Adds what points kubelet at the image service.
 *
 * @param endArguments ends `kubelet-arguments` at once, also while the file system does not answer
 */
export function addNodeInstallerCommands(
  program: Command,
  own: ArgumentsProcess = process,
  endArguments: (isInTime: boolean) => void = end,
): void {
  addPlan(program, own);
  addInstall(program, own);
  addUninstall(program, own);
  addRollBack(program, own);
  addGuard(program, own);
  addKubeletArguments(program, own, endArguments);
}

function addPlan(program: Command, own: CommandProcess): void {
  withInstallOptions(
    program
      .command('plan')
      .description(
        'print what `install` would change on this node, and why it could not; exits with 1 where it could not. Changes nothing',
      ),
  )
    .addHelpText('after', `\nExample:\n  kubelet-image-service plan --config ${usualConfig}`)
    .action(async (options: InstallOptions) => {
      const { showInstallPlan } = await import('./plan-command.js');
      await showInstallPlan(options, own);
    });
}

function addInstall(program: Command, own: CommandProcess): void {
  withRunOptions(
    withInstallOptions(
      program
        .command('install')
        .description(
          'point the kubelet of this node at the image service, verify it, or put everything back',
        ),
    ),
  )
    .addOption(new Option('--patient').hideHelp())
    .addHelpText(
      'after',
      `\nExamples:\n  kubelet-image-service install --config ${usualConfig}\n  kubelet-image-service install --config ${usualConfig} --dry-run`,
    )
    .action(async (options: InstallOptions & RunOptions) => {
      const { install } = await import('./actions.js');
      await install(options, own);
    });
}

function addUninstall(program: Command, own: CommandProcess): void {
  withRunOptions(
    program
      .command('uninstall')
      .description('take away what `install` wrote; kubelet is restarted without it, and verified')
      .option(
        '--root <directory>',
        'the root of the node; another one than /: files alone, without systemd',
        '/',
      )
      .option('--dry-run', 'print what would be changed, and change nothing', false)
      .option('--directory <directory>', 'where the executable is, where it was given to install')
      .addOption(new Option('--executable <file>').hideHelp()),
  )
    .addHelpText('after', '\nExample:\n  kubelet-image-service uninstall')
    .action(async (options: Pick<InstallOptions, 'root' | 'dryRun' | 'directory'> & RunOptions) => {
      const { uninstall } = await import('./actions.js');
      await uninstall(options, own);
    });
}

function withInstallOptions(command: Command): Command {
  const modes = ['host', 'pod', 'credential-provider'];
  return command
    .addOption(
      new Option(
        '--mode <mode>',
        'what answers kubelet: a service of the host, a pod, or the credential provider',
      )
        .choices(modes)
        .default('host'),
    )
    .option('--config <file>', 'the configuration (YAML); it is copied with the files beside it')
    .option(
      '--root <directory>',
      'the root of the node; another one than /: files alone, without systemd',
      '/',
    )
    .option('--dry-run', 'print what would be changed, and change nothing', false)
    .option('--directory <directory>', 'where the executable goes (default: as the platform has it)')
    .option('--socket <path>', 'of the image service', usualSocket)
    .option('--chain', "go before another image endpoint, which the configuration's runtime is then", false)
    .addOption(allowOption())
    .addOption(new Option('--executable <file>').hideHelp());
}

function withRunOptions(command: Command): Command {
  return command
    .option('--node-directory <directory>', "in a container: where the node's directories are mounted")
    .option('--stay', 'run again every five minutes, and when the configuration changes', false)
    .option('--ready-file <file>', 'with --stay: is there after a run that was verified')
    .option('--systemd <socket>', 'where systemd is asked (default: /run/systemd/private, or the system bus)')
    .addOption(new Option('--inside').hideHelp())
    .addOption(new Option('--run <id>').hideHelp())
    .addOption(new Option('--state <directory>').hideHelp());
}

function addRollBack(program: Command, own: CommandProcess): void {
  program
    .command('roll-back', { hidden: true })
    .description('take back a run of `install` that has not ended; a timer starts it')
    .option('--unit <unit>', "kubelet's, which is freed of all of ours where the journal cannot be read")
    .option('--systemd <socket>', 'where systemd is asked')
    .action(async (options: RunOptions & { readonly unit?: string }) => {
      const { rollBackInside } = await import('./inside.js');
      await rollBackInside(options, own);
    });
}

function addGuard(program: Command, own: CommandProcess): void {
  program
    .command('guard', { hidden: true })
    .description('restart a kubelet whose image endpoint is dead, or well again; a timer starts it')
    .requiredOption('--unit <unit>', "kubelet's")
    .requiredOption('--endpoint <unix:///path>', 'the socket')
    .option('--systemd <socket>', 'where systemd is asked')
    .action(async (options: GuardOptions & RunOptions) => {
      const { guardInside } = await import('./inside.js');
      await guardInside(options, own);
    });
}

/** It takes what it is given: a drop-in of another version must not keep kubelet from its start either. */
function addKubeletArguments(
  program: Command,
  own: ArgumentsProcess,
  endArguments: (isInTime: boolean) => void,
): void {
  program
    .command('kubelet-arguments', { hidden: true })
    .description("write kubelet's arguments of this start; its unit calls it. Always exits with 0")
    .option('--mode <mode>')
    .option('--variable <name>')
    .option('--endpoint <unix:///path>')
    .option('--provider-config <path>')
    .option('--provider-bin-directory <directory>')
    .option('--config <file>')
    .option('--allow <kind...>')
    .option('--write <file>')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(async (options: KubeletArgumentsOptions) => {
      const { longestTime, writeKubeletArguments } = await import('./kubelet-arguments.js');
      const { env: environment, stderr } = own;
      // Counted from the start of the process: on a node that is just starting, loading takes long.
      const patience = Math.max(longestTime - performance.now(), 2_000);
      endArguments(await writeKubeletArguments(options, { environment, stderr, patience }));
    });
}

/** Node waits at its end for whoever of its threads reads a file that does not answer; a signal does not. */
function end(isInTime: boolean): void {
  if (isInTime) process.exit(0);
  process.kill(process.pid, 'SIGKILL');
}
