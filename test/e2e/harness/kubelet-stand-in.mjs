// A program that does what kubelet does with its image endpoint, its credential providers and the pods of its node.
// It runs on a node of the tests as /usr/bin/kubelet; the repository has its usual path there.
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const logFile = '/var/log/kubelet-stand-in.jsonl';
const manifests = '/etc/kubernetes/manifests';
const pidFiles = '/run/kubelet-stand-in';
/** What kubelet's client allows for a connection and its first call. */
const connectionTimeout = 5_000;

const argv = process.argv.slice(2);
// A flag that is given twice has its last value, as with Go's pflag.
const flag = (name) =>
  argv
    .flatMap((word, at) =>
      word === `--${name}`
        ? [argv[at + 1]]
        : word.startsWith(`--${name}=`)
          ? [word.slice(name.length + 3)]
          : [],
    )
    .at(-1);

const runtimeEndpoint = flag('container-runtime-endpoint');
const imageEndpoint = flag('image-service-endpoint') ?? runtimeEndpoint;

function note(event, more = {}) {
  const line = { at: new Date().toISOString(), pid: process.pid, event, ...more };
  appendFileSync(logFile, `${JSON.stringify(line)}\n`);
  process.stderr.write(`${event} ${JSON.stringify(more)}\n`);
}

/** A message with one string field, of a number below 16. */
function stringField(number, text) {
  return messageField(number, Buffer.from(text));
}

function messageField(number, bytes) {
  const length = [];
  for (let left = bytes.length; ; left >>>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}

/** One call of runtime.v1.ImageService on a connection of its own. @returns the answer's bytes */
function call(endpoint, method, message, timeout) {
  return new Promise((resolve, reject) => {
    const socket = connect(endpoint.replace(/^unix:\/\//, ''));
    const session = connectHttp2('http://localhost', { createConnection: () => socket });
    const end = (error, bytes) => {
      clearTimeout(timer);
      session.destroy();
      error ? reject(error) : resolve(bytes);
    };
    const timer = setTimeout(() => end(new Error(`${method}: context deadline exceeded`)), timeout);
    session.on('error', (error) => end(error));
    const stream = session.request({
      ':method': 'POST',
      ':path': `/runtime.v1.ImageService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const pieces = [];
    let status = {};
    stream.on('response', (headers) => (status = headers));
    stream.on('trailers', (headers) => (status = headers));
    stream.on('data', (piece) => pieces.push(piece));
    stream.on('error', (error) => end(error));
    stream.on('end', () => {
      const why = `${method}: status ${status['grpc-status']} ${status['grpc-message'] ?? ''}`;
      end(status['grpc-status'] === '0' ? undefined : new Error(why), Buffer.concat(pieces).subarray(5));
    });
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

/** kubelet does not start without its endpoints. */
async function dial(endpoint) {
  await call(endpoint, 'ImageFsInfo', Buffer.alloc(0), connectionTimeout);
}

/** @returns none where nothing says any. @throws where kubelet would not start */
async function registerCredentialProviders() {
  const file = flag('image-credential-provider-config');
  const directory = flag('image-credential-provider-bin-dir');
  if (file === undefined && directory === undefined) return [];
  const { readProviders } = await import('./stand-in-providers.mjs');
  const found = await readProviders(file, directory);
  note('registered credential providers', { names: found.map(({ name }) => name) });
  return found;
}

/** Containers are the runtime's: they outlive kubelet, and the next one finds them. */
function isRunning(name) {
  try {
    const pid = Number(readFileSync(join(pidFiles, name), 'utf8'));
    return pid > 0 && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function stop(name) {
  if (isRunning(name)) process.kill(Number(readFileSync(join(pidFiles, name), 'utf8')), 'SIGKILL');
  rmSync(join(pidFiles, name), { force: true });
}

/** With imagePullPolicy IfNotPresent: the endpoint is asked before anything is started. */
async function startPod(name, { image, command }) {
  const spec = messageField(1, stringField(1, image));
  const status = await call(imageEndpoint, 'ImageStatus', spec, 10_000);
  const isPresent = status[0] === 0x0a;
  const by = isPresent ? undefined : await pull(image, spec);
  const child = spawn(command[0], command.slice(1), { detached: true, stdio: 'ignore' });
  child.on('error', (error) => note('container failed', { name, error: error.message }));
  writeFileSync(join(pidFiles, name), String(child.pid));
  note('started container', { name, image, pulled: !isPresent, through: imageEndpoint, by });
}

/** With one credential after the other, until the registry takes one. @returns the provider it came from */
async function pull(image, spec) {
  const logins = providers.length > 0 ? await loginsOf(image) : [];
  if (logins.length === 0) await call(imageEndpoint, 'PullImage', spec, 60_000);
  for (const [at, { provider, username, password }] of logins.entries()) {
    const auth = Buffer.concat([stringField(1, username), stringField(2, password)]);
    try {
      await call(imageEndpoint, 'PullImage', Buffer.concat([spec, messageField(2, auth)]), 60_000);
      return provider;
    } catch (error) {
      if (at === logins.length - 1) throw error;
    }
  }
  return undefined;
}

async function loginsOf(image) {
  const { loginsFor } = await import('./stand-in-providers.mjs');
  return loginsFor(providers, image, (name, { message }) =>
    note('provider failed', { name, error: message }),
  );
}

async function syncPods() {
  const wanted = existsSync(manifests) ? readdirSync(manifests).filter((name) => name.endsWith('.json')) : [];
  const names = wanted.map((name) => name.slice(0, -'.json'.length));
  for (const name of readdirSync(pidFiles)) if (!names.includes(name)) stop(name);
  for (const name of names.filter((one) => !isRunning(one))) {
    try {
      const pod = JSON.parse(readFileSync(join(manifests, `${name}.json`), 'utf8'));
      if (pod.once && existsSync(join(pidFiles, name))) continue;
      await startPod(name, pod);
    } catch (error) {
      note('ImageInspectError', { name, error: error.message });
    }
  }
}

note('started', { argv });
let providers = [];
try {
  providers = await registerCredentialProviders();
  for (const endpoint of new Set([runtimeEndpoint, imageEndpoint])) if (endpoint) await dial(endpoint);
} catch (error) {
  note('failed', { error: error.message });
  process.exit(1);
}
mkdirSync(pidFiles, { recursive: true });
const health = createServer((_request, response) => response.end('ok'));
health.on('error', (error) => {
  note('failed', { error: error.message });
  process.exit(1);
});
health.listen(10248, '127.0.0.1', () => note('healthy', { imageEndpoint }));
for (;;) {
  await syncPods();
  await sleep(500);
}
