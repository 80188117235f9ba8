import { createHash, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { World } from './world.js';

/** A virtual machine, as `google.compute_engine` of its tokens tells it. */
export interface VirtualMachine {
  readonly projectId: string;
  readonly projectNumber: number;
  readonly zone: string;
  readonly instanceId: string;
  readonly instanceName: string;
}

export const virtualMachine: VirtualMachine = {
  projectId: 'acme-build',
  projectNumber: 739419398126,
  zone: 'europe-west1-b',
  instanceId: '4520031799277581759',
  instanceName: 'builder-1',
};

type Claims = Readonly<Record<string, unknown>>;

/** What Google signs identity tokens with, and where it publishes the keys for that. */
export interface GoogleIdentity {
  /** Every token that was signed, in order. */
  readonly given: readonly string[];
  /** Seconds: the life of tokens from now on; 3600 at first. */
  tokenLife: number;
  /** Signs with another key from now on; `false`: the old one is not published any more. */
  rotateKeys(keepOld?: boolean): void;
  /** Signs anything. @param claims over the usual ones; `undefined` takes one out */
  sign(claims: Claims, header?: Claims): string;
  /** A token of a service account, as the metadata server gives it without `format=full`, or elsewhere. */
  standardToken(audience: string, more?: Claims): string;
  /** A token with the machine in it. */
  fullToken(audience: string, machine: VirtualMachine, email: string, more?: Claims): string;
  /** The private key it signs with now, for forgeries. */
  readonly key: KeyObject;
}

const issuer = 'https://accounts.google.com';
const certificates = '/oauth2/v3/certs';

interface Key {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** `accounts.google.com`, and the keys at `www.googleapis.com`, where its discovery document says they are. */
export function startGoogleIdentity(world: World): GoogleIdentity {
  let keys = [newKey(0)];
  let next = 1;
  const given: string[] = [];
  world.host('accounts.google.com', ({ record, url, json, text }) => {
    if (record.method !== 'GET' || url.pathname !== '/.well-known/openid-configuration')
      return text(404, 'Not Found');
    json(200, {
      issuer,
      jwks_uri: `https://www.googleapis.com${certificates}`,
      authorization_endpoint: 'https://accounts.google.com/o/oauth2/v2/auth',
      response_types_supported: ['code', 'token', 'id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
    });
  });
  world.host('www.googleapis.com', ({ record, url, json, text }) => {
    if (record.method !== 'GET' || url.pathname !== certificates) return text(404, 'Not Found');
    json(200, { keys: keys.map(jwkOf) }, { 'cache-control': 'public, max-age=22000, must-revalidate' });
  });
  const identity: GoogleIdentity = {
    given,
    tokenLife: 3600,
    get key() {
      return current(keys).privateKey;
    },
    rotateKeys: (keepOld = true) => {
      keys = [newKey(next++), ...(keepOld ? keys.slice(0, 1) : [])];
    },
    sign: (claims, header = {}) => {
      const { kid, privateKey } = current(keys);
      const token = signed({ alg: 'RS256', kid, typ: 'JWT', ...header }, claims, privateKey);
      given.push(token);
      return token;
    },
    standardToken: (audience, more = {}) => {
      const iat = Math.floor(Date.now() / 1000);
      const times = { iat, exp: iat + identity.tokenLife };
      const subject = '112179062720391305885';
      return identity.sign({ aud: audience, azp: subject, ...times, iss: issuer, sub: subject, ...more });
    },
    fullToken: (audience, machine, email, more = {}) =>
      identity.standardToken(audience, {
        ...{ email, email_verified: true },
        google: { compute_engine: computeEngine(machine) },
        ...more,
      }),
  };
  return identity;
}

export function computeEngine(machine: VirtualMachine): Claims {
  return {
    instance_confidentiality: 0,
    instance_creation_timestamp: 1_734_377_115,
    instance_id: machine.instanceId,
    instance_name: machine.instanceName,
    project_id: machine.projectId,
    project_number: machine.projectNumber,
    zone: machine.zone,
  };
}

/** A JWT by this key, whatever its header says. */
export function signed(header: Claims, claims: Claims, key: KeyObject): string {
  const part = (value: Claims) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${createSign('RSA-SHA256').update(input).sign(key, 'base64url')}`;
}

function current([key]: readonly Key[]): Key {
  if (key === undefined) throw new Error('there is no key');
  return key;
}

/** Made once for all worlds of a process: each takes some hundred milliseconds. */
const made: Key[] = [];

function newKey(index: number): Key {
  const known = made[index];
  if (known !== undefined) return known;
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
  const key = { kid, privateKey, publicKey };
  made[index] = key;
  return key;
}

function jwkOf({ kid, publicKey }: Key): Claims {
  return { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
}
