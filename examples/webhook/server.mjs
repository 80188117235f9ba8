// A webhook that judges logins for docker-registry-proxy, in one file and without packages.
//
//   WEBHOOK_TOKEN=… node server.mjs users.json 8080
//
// users.json: { "alice": { "scrypt": "SALT:HASH", "groups": ["developers"] } }, both in hex; docs/verifiers/webhook.md has
// a command that makes them.
import { scrypt as scryptWithCallback, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { promisify } from 'node:util';

const scrypt = promisify(scryptWithCallback);
const [file = 'users.json', port = '8080'] = process.argv.slice(2);
const token = process.env.WEBHOOK_TOKEN;
if (!token) throw new Error('WEBHOOK_TOKEN is not set: anybody could ask for anybody');
const nobody = { scrypt: `${'00'.repeat(16)}:${'00'.repeat(32)}` };

const server = createServer(async (request, response) => {
  const answer = (status, body) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  try {
    if (!isSame(request.headers.authorization ?? '', `Bearer ${token}`)) return answer(401, {});
    const { apiVersion, kind, metadata, spec } = JSON.parse(await readBody(request));
    // TokenReview has no field for a user name: it stands here, as the client wrote it. Verify it.
    const username = metadata?.annotations?.['docker-registry-proxy/username'] ?? '';
    answer(200, { apiVersion, kind, status: await review(username, spec.token) });
  } catch (error) {
    console.error(error.message); // and not the request: it holds a password
    answer(500, {}); // "cannot tell now": the proxy answers 503, and asks nobody else
  }
});

async function review(username, password) {
  const users = new Map(Object.entries(JSON.parse(readFileSync(file, 'utf8'))));
  const known = users.get(username);
  const [salt, hash] = (known ?? nobody).scrypt.split(':'); // as much work for a name that is not there
  const actual = await scrypt(password, Buffer.from(salt, 'hex'), 32);
  if (!known || !timingSafeEqual(actual, Buffer.from(hash, 'hex'))) return { authenticated: false };
  return { authenticated: true, user: { username, groups: known.groups ?? [], extra: known.extra ?? {} } };
}

function isSame(a, b) {
  return Buffer.byteLength(a) === Buffer.byteLength(b) && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
    if (chunks.reduce((size, { length }) => size + length, 0) > 65_536)
      throw new Error('the body is too large');
  }
  return Buffer.concat(chunks).toString('utf8');
}

// Loopback only. Between machines put TLS in front of it: the proxy sends passwords to https:// alone.
server.listen(Number(port), '127.0.0.1', () =>
  console.log(`listening on 127.0.0.1:${server.address().port}`),
);
