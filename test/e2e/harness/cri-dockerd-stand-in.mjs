// A program that answers for images as cri-dockerd does (its core/image.go and core/imagefs_linux.go), in front of a
// Docker Engine. It runs on a node of the tests, with no package beside it.
// usage: cri-dockerd-stand-in.mjs SOCKET-OF-DOCKER SOCKET
import { rmSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:http2';

const [docker, listen] = process.argv.slice(2);

/** @returns what Docker answers, undefined where there is no such thing */
function ask(method, path) {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath: docker, method, path: encodeURI(path) }, (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(pieces).toString();
        if (response.statusCode === 404) return resolve(undefined);
        return response.statusCode === 200 ? resolve(text) : reject(new Error(text));
      });
    });
    asking.on('error', reject).end();
  });
}

const askJson = async (path) => JSON.parse((await ask('GET', path)) ?? 'null');

/** A message with bytes in one field, of a number below 16. */
function field(number, content) {
  const bytes = Buffer.from(content);
  const length = [];
  for (let left = bytes.length; ; left >>>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}

/** The first field, which is the only one that these requests have here. */
function firstField(message) {
  let at = 1;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    length |= (message[at] & 127) << shift;
    if (message[at++] < 128) break;
  }
  return message.subarray(at, at + length);
}

const imageOf = ({ Id, RepoTags, RepoDigests }) =>
  Buffer.concat([
    field(1, Id),
    ...(RepoTags ?? []).map((one) => field(2, one)),
    ...(RepoDigests ?? []).map((one) => field(3, one)),
  ]);

const methods = {
  ImageFsInfo: async () => {
    const { DockerRootDir } = await askJson('/info');
    return field(1, field(2, field(1, DockerRootDir)));
  },
  ListImages: async () => {
    const images = await askJson('/images/json');
    return Buffer.concat(images.map((one) => field(1, imageOf(one))));
  },
  ImageStatus: async (message) => {
    const found = await askJson(`/images/${firstField(firstField(message))}/json`);
    return found === null ? Buffer.alloc(0) : field(1, imageOf(found));
  },
  PullImage: async (message) => {
    const name = firstField(firstField(message)).toString();
    const told = (await ask('POST', `/images/create?fromImage=${name}`)) ?? 'not found';
    const { Id } = (await askJson(`/images/${name}/json`)) ?? {};
    if (Id === undefined) throw new Error(told);
    return field(1, Id);
  },
};

const server = createServer();
server.on('stream', (stream, headers) => {
  const pieces = [];
  stream.on('error', () => undefined);
  stream.on('data', (piece) => pieces.push(piece));
  stream.on('end', async () => {
    const method = methods[headers[':path'].split('/').at(-1)];
    let [status, why, answer] = ['0', '', Buffer.alloc(0)];
    try {
      if (method === undefined) [status, why] = ['12', 'unknown method'];
      else answer = await method(Buffer.concat(pieces).subarray(5));
    } catch (error) {
      [status, why] = ['2', error.message.replace(/\s+/g, ' ')];
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'grpc-status': status, 'grpc-message': encodeURI(why) }),
    );
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(answer.length, 1);
    stream.end(status === '0' ? Buffer.concat([prefix, answer]) : undefined);
  });
});
rmSync(listen, { force: true });
server.listen(listen);
