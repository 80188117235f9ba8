import { untilAborted } from '../../decorators/single-flight.js';
import { askOnce, type Ending } from '../one-question/ask-once.js';
import { HelperError } from '../one-question/helper-error.js';
import { readRequest } from '../one-question/read-request.js';
import { stderrLog } from '../one-question/stderr-log.js';
import type { ProviderOptions, ProviderProcess } from './provider-process.js';

/** Milliseconds for everything: kubelet waits for a minute. */
export const usualPatience = 50_000;
/** Set to anything: standard error says why an answer is empty. */
export const debugVariable = 'KUBELET_IMAGE_SERVICE_DEBUG';

/** Never rejects. The text is the answer, or what is wrong where the code is not 0. */
export function runCredentialProvider(
  options: ProviderOptions,
  own: ProviderProcess,
  stop: AbortController,
  patience = usualPatience,
): Promise<Ending> {
  return askOnce((signal) => textFor(options, own, signal), { stop, patience });
}

async function textFor(
  options: ProviderOptions,
  { env: environment, stdin, stderr }: ProviderProcess,
  signal: AbortSignal,
): Promise<string> {
  const { config, audience, allow, printConfig = false, printRbac = false } = options;
  if (Number(printConfig) + Number(printRbac) + Number(audience !== undefined) > 1) {
    throw new HelperError('--audience, --print-config and --print-rbac: expected one of them at most', 2);
  }
  const { readRulesFile } = await import('./rules-file.js');
  if (printConfig) {
    const { printKubeletConfig } = await import('./kubelet-config.js');
    return printKubeletConfig(await readRulesFile(config, environment), options);
  }
  if (printRbac) {
    const { printAudienceRole } = await import('./audience-role.js');
    return printAudienceRole(await readRulesFile(config, environment));
  }
  // While kubelet writes, what reads the configuration is loaded.
  const [text, { parseProviderRequest }, { answerTo }] = await Promise.all([
    untilAborted(readRequest(stdin), signal),
    import('./provider-request.js'),
    import('./answer.js'),
  ]);
  const request = parseProviderRequest(text);
  const file = await readRulesFile(config, environment, allow);
  const log = stderrLog(environment, stderr, { program: 'kubelet-image-service', variable: debugVariable });
  const now = () => Date.now();
  return answerTo(request, file, {
    ...(audience !== undefined && { audience }),
    ...{ environment, log, signal, now },
  });
}
