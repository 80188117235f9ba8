#!/usr/bin/env node
// A program that judges logins for docker-registry-proxy: one JSON document on standard input, one on standard output.
// What it writes to standard error goes to the proxy's log where it ends with another code than 0.
//
// The users' file is its argument: { "alice": { "scrypt": "SALT:HASH", "groups": ["developers"] } }, both in hex; see
// ../webhook/server.mjs for how to make one.
import { scryptSync, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { username, password } = JSON.parse(readFileSync(0, 'utf8'));
const users = new Map(Object.entries(JSON.parse(readFileSync(process.argv[2], 'utf8'))));
const nobody = { scrypt: `${'00'.repeat(16)}:${'00'.repeat(32)}` };

console.log(JSON.stringify(verify(users.get(username))));

function verify(known) {
  const [salt, hash] = (known ?? nobody).scrypt.split(':').map((hex) => Buffer.from(hex, 'hex'));
  const isRight = timingSafeEqual(scryptSync(password, salt, 32), hash); // as much work for a name that is not there
  if (known === undefined) return { notMine: true }; // the next verifier is asked
  if (!isRight) return { refused: 'wrong password' };
  return { principal: { name: username, groups: known.groups ?? [], attributes: known.attributes ?? {} } };
}
