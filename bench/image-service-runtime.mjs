import { createServer } from 'node:http2';

// node image-service-runtime.mjs SOCKET        with the answers in ANSWERS
//
// A container runtime that answers each call with a constant: the runtime behind the image service, and the bare server
// beside it. Plain JavaScript with Node.js alone, so that its memory is that of a server and of nothing else.

const { answers, secret } = JSON.parse(process.env.ANSWERS);
const frames = new Map(
  Object.entries(answers).map(([path, base64]) => [path, Buffer.from(base64, 'base64')]),
);

const server = createServer();
server.on('stream', (stream, headers) => {
  const pieces = [];
  stream.on('error', () => {});
  stream.on('data', (piece) => pieces.push(piece));
  stream.on('end', () => {
    const path = headers[':path'];
    const wasShown = path.endsWith('/PullImage') && Buffer.concat(pieces).includes(secret);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(frames.get(wasShown ? `${path} with the credential` : path));
  });
});
server.listen(process.argv[2]);
process.once('SIGTERM', () => process.exit());
