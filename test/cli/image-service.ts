import { request } from 'node:http';
import {
  type RunningImageService,
  startImageService,
} from '../../src/bin/image-service/running-image-service.js';
import { Reloader } from '../../src/bin/reloader.js';
import { loadServedImageConfiguration } from '../../src/config/image-service/load.js';
import { formatProblem } from '../../src/config/problem.js';
import { createLog } from '../../src/observability/pino-log.js';
import { PrometheusMetrics } from '../../src/observability/prometheus-metrics.js';
import type { LogLine, Scope } from '../harness/index.js';

/** An image service in this process, with all it wrote. */
export interface ServedImages {
  readonly service: RunningImageService;
  logLines(): readonly LogLine[];
  /** As SIGHUP does, of the whole program. Never rejects; the log tells what became of it. */
  reload(): Promise<void>;
  metrics(): Promise<string>;
}

/** @throws what starting throws */
export async function serveImages(scope: Scope, file: string): Promise<ServedImages> {
  const loaded = await loadServedImageConfiguration(file);
  if ('problems' in loaded) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  const written: string[] = [];
  const stdout = { write: (line: string) => void written.push(line) };
  const metrics = new PrometheusMetrics('kubelet_image_service_');
  const log = createLog('debug', stdout);
  const service = await startImageService(loaded.configuration, { clock: Date, log, metrics, stdout });
  const reloader = new Reloader({ served: service, load: loadServedImageConfiguration, log, metrics });
  scope.after(async () => {
    reloader.close();
    await service.stop();
  });
  return {
    service,
    logLines: () => written.map((line) => JSON.parse(line) as LogLine),
    reload: () => {
      service.reopenFiles();
      return reloader.reload('signal');
    },
    metrics: () => metrics.print(),
  };
}

/** What an operator's page says. */
export function adminPage(
  socketPath: string,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, agent: false }, async (response) => {
      let body = '';
      for await (const chunk of response.setEncoding('utf8')) body += chunk;
      resolve({ status: response.statusCode ?? 0, body });
    });
    asked.on('error', reject).end();
  });
}
