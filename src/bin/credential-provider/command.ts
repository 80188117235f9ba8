import { constants } from 'node:os';
import type { Command } from 'commander';
import { allowOption } from '../allow-option.js';
import { configOption } from '../config-option.js';
import type { ProviderOptions, ProviderProcess } from './provider-process.js';

const examples = `
kubelet runs this; by hand:
  echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"docker.example.com/app"}' |
    kubelet-image-service credential-provider --config /etc/kubelet-image-service/config.yaml

What kubelet has to be told:
  kubelet-image-service credential-provider --print-config --config /etc/kubelet-image-service/config.yaml
  kubelet-image-service credential-provider --print-rbac --config /etc/kubelet-image-service/config.yaml | kubectl apply -f -`;

/**
 * Adds `credential-provider`. What it needs is loaded when it runs: each pull waits for it.
 *
 * @param stopped aborted by a signal to the process
 */
export function addCredentialProviderCommand(
  program: Command,
  own: ProviderProcess = process,
  stopped: () => AbortController = stopOnSignals,
): void {
  program
    .command('credential-provider')
    .description(
      'answer kubelet as its image credential provider, by the same rules as serve: a request on standard input, credentials on standard output',
    )
    .requiredOption(...configOption)
    .addOption(allowOption())
    .option('--audience <audience>', 'for the rules whose podIdentity has this audience, and for no others')
    .option('--print-config', "print kubelet's CredentialProviderConfig for these rules")
    .option('--print-rbac', 'print the ClusterRole by which kubelets get tokens of pods for these audiences')
    .option(
      '--bin-dir <directory>',
      "with --print-config: kubelet's --image-credential-provider-bin-dir",
      '/usr/local/lib/kubelet-credential-providers',
    )
    .option('--without-tokens', 'with --print-config: for kubelets before Kubernetes 1.34')
    .addHelpText('after', examples)
    .action(async (options: ProviderOptions) => {
      const { runCredentialProvider } = await import('./run.js');
      const { text, code } = await runCredentialProvider(options, own, stopped());
      own.exitCode = code;
      // Whole, also where the reader is slow; and without waiting for a connection that nobody closed.
      const end = () => own.exit?.(code);
      const isAnswer = code === 0;
      if (!isAnswer) own.stderr.write(`${text}\n`);
      own.stdout.write(isAnswer ? text : '', end);
    });
}

/** So that a program that was started for the answer ends with us. */
function stopOnSignals(): AbortController {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, async () => {
      const { HelperError } = await import('../one-question/helper-error.js');
      stop.abort(new HelperError(`ended by ${signal}`, 128 + constants.signals[signal]));
    });
  }
  // Who asked may have gone, and nobody reads the answer.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  return stop;
}
