import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../e2e/harness/free-port.js';
import type { Scope } from '../../harness/scope.js';

export interface Nginx {
  /** On 127.0.0.1. */
  readonly port: number;
  /** All it wrote. */
  output(): string;
  stop(): Promise<void>;
}

export interface NginxSettings {
  /** Its own certificate. PEM. */
  readonly certificate: string;
  readonly key: string;
  /** Whose client certificates it takes. PEM. */
  readonly clientAuthorities: string;
  /** What `location /` is: `proxy_pass` and so on. */
  readonly location: string;
}

/** Starts nginx with TLS and `ssl_verify_client optional`, as a process of its own. */
export async function startNginx(scope: Scope, program: string, settings: NginxSettings): Promise<Nginx> {
  const directory = mkdtempSync(join(tmpdir(), 'nginx-'));
  const port = await freePort();
  const file = (name: string, content: string) =>
    writeFileSync(join(directory, name), content, { mode: 0o600 });
  file('server.crt', settings.certificate);
  file('server.key', settings.key);
  file('clients.pem', settings.clientAuthorities);
  mkdirSync(join(directory, 'tmp'));
  file('nginx.conf', configuration(port, settings.location));
  const args = ['-p', directory, '-c', 'nginx.conf', '-e', 'stderr'];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = once(child, 'close').catch((error: unknown) => {
    output += String(error);
  });
  const isRunning = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const stop = async () => {
    if (isRunning()) child.kill('SIGTERM');
    await ended;
  };
  scope.after(async () => {
    await stop();
    rmSync(directory, { recursive: true, force: true });
  });
  for (let i = 0; i < 500; i++) {
    if (!isRunning()) break;
    if (await accepts(port)) return { port, output: () => output, stop };
    await sleep(20);
  }
  await stop();
  throw new Error(`nginx did not start:\n${output}`);
}

/** One process without a master: nothing is left where the test ends badly. */
function configuration(port: number, location: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
${temporary.map((name) => `  ${name}_temp_path tmp/${name};`).join('\n')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    ssl_client_certificate clients.pem;
    ssl_verify_client optional;
    client_max_body_size 0;
    location / {
${location}
    }
  }
}
`;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (isOpen: boolean) => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}
