import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RuntimeError, type RuntimeFault } from '../contracts/runtime.js';
import { type ErrorCode, RegistryError } from '../errors.js';
import type { PullFault } from './pull-attempt.js';
import { faultOf, faultOfError } from './pull-fault.js';

/** Of gRPC. */
const [canceled, unknown, deadline, notFound, denied, exhausted, unavailable, unauthenticated] = [
  1, 2, 4, 5, 7, 8, 14, 16,
];

const image = 'docker.example.com/team/app:1.2';
const resolve = `failed to pull and unpack image "${image}": failed to resolve reference "${image}":`;
const head = 'unexpected status from HEAD request to https://docker.example.com/v2/team/app/manifests/1.2:';

interface Case {
  readonly by: string;
  readonly status?: number;
  readonly text: string;
  readonly fault: PullFault;
  /** What was asked for; absent: `image`. */
  readonly asked?: string;
}

const cases: readonly Case[] = [
  // containerd, remotes/docker
  {
    by: 'containerd 1.6: basic, refused',
    text: `${resolve} pulling from host docker.example.com failed with status code [manifests 1.2]: 401 Unauthorized`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd 1.4: basic, refused',
    text: `${resolve} unexpected status code [manifests 1.2]: 401 Unauthorized`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd 1.6: token endpoint refuses',
    text: `${resolve} failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd 1.7: token endpoint refuses',
    text: `${resolve} failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://auth.example.com/token?scope=repository%3Ateam%2Fapp%3Apull&service=x: 401 Unauthorized`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd 1.7: token endpoint has an invalid_grant',
    text: `${resolve} failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://example.azurecr.io/oauth2/token: 400 Bad Request`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd 1.7: token endpoint knows who it is, and denies',
    text: `${resolve} failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://gcr.io/v2/token?scope=x: 403 Forbidden`,
    fault: 'denied',
  },
  {
    by: 'containerd 1.7: nobody gets no token',
    text: `${resolve} failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=x: 401 Unauthorized`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd 2: nothing to show for basic',
    text: `${resolve} pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd: a token that is not valid any more',
    text: `${resolve} pull access denied, repository does not exist or may require authorization: server message: invalid_token: authorization failed`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd: insufficient scope',
    text: `${resolve} pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`,
    fault: 'denied',
  },
  { by: 'containerd 1.7: ECR, 403 to HEAD', text: `${resolve} ${head} 403 Forbidden`, fault: 'denied' },
  {
    by: 'containerd 2: ECR, a token that has ended',
    text: `${resolve} ${head} 403 Forbidden\ndenied: Your authorization token has expired. Reauthenticate and try again.`,
    fault: 'unauthorized',
  },
  {
    by: 'containerd: no such tag',
    status: notFound,
    text: `${resolve} ${image}: not found`,
    fault: 'not found',
  },
  {
    by: 'containerd: no such tag, under UNKNOWN',
    text: `${resolve} ${image}: not found`,
    fault: 'not found',
  },
  {
    by: 'containerd: a layer is missing',
    status: notFound,
    text: `failed to pull and unpack image "${image}": failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:e439 (application/vnd.docker.distribution.manifest.v2+json) from remote: not found`,
    fault: 'not found',
  },
  {
    by: 'containerd 1.6: Docker Hub limits',
    text: `failed to pull and unpack image "docker.io/library/alpine:latest": failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/alpine/manifests/sha256:f271: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit`,
    fault: 'rate limited',
  },
  {
    by: 'containerd: disk full',
    text: `failed to pull and unpack image "${image}": failed to extract layer sha256:1d: write /var/lib/containerd/tmpmounts/containerd-mount1/usr/lib: no space left on device: unknown`,
    fault: 'full',
  },
  {
    by: 'containerd: disk full in its store',
    text: `failed to pull and unpack image "${image}": failed to copy: write /var/lib/containerd/io.containerd.content.v1.content/ingest/a/data: no space left on device`,
    fault: 'full',
  },
  {
    by: 'containerd: no such host',
    text: `${resolve} failed to do request: Head "https://docker.example.com/v2/team/app/manifests/1.2": dial tcp: lookup docker.example.com on 10.0.0.2:53: no such host`,
    fault: 'registry',
  },
  {
    by: 'containerd: refused connection',
    text: `${resolve} failed to do request: Head "https://127.0.0.1:5000/v2/app/manifests/1": dial tcp 127.0.0.1:5000: connect: connection refused`,
    fault: 'registry',
  },
  {
    by: 'containerd: the token endpoint cannot be reached',
    text: `${resolve} failed to authorize: failed to fetch oauth token: Post "https://auth.example.com/token": dial tcp 10.1.2.3:443: i/o timeout`,
    fault: 'registry',
  },
  {
    by: 'containerd: not a certificate it knows',
    text: `${resolve} failed to do request: Head "https://docker.example.com/v2/a/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
    fault: 'registry',
  },
  {
    by: 'containerd: plain HTTP',
    text: `${resolve} failed to do request: Head "https://docker.example.com/v2/a/manifests/1": http: server gave HTTP response to HTTPS client`,
    fault: 'registry',
  },
  { by: 'containerd: cut', text: `${resolve} unexpected EOF`, fault: 'registry' },
  { by: 'containerd 1.7: 503', text: `${resolve} ${head} 503 Service Unavailable`, fault: 'registry' },
  {
    by: 'containerd 1.6: 502',
    text: `${resolve} pulling from host docker.example.com failed with status code [manifests 1.2]: 502 Bad Gateway`,
    fault: 'registry',
  },
  { by: 'containerd: 500', text: `${resolve} ${head} 500 Internal Server Error`, fault: 'registry' },
  {
    by: 'containerd: nothing came for minutes',
    status: canceled,
    text: `failed to pull and unpack image "${image}": failed to copy: httpReadSeeker: failed open: context canceled`,
    fault: 'stopped',
  },
  { by: 'containerd: under UNKNOWN', text: `${resolve} context canceled`, fault: 'stopped' },
  {
    by: 'containerd: no reference',
    text: 'failed to parse image reference "UPPER": repository name must be lowercase',
    fault: 'other',
  },
  // CRI-O, containers/image
  {
    by: 'CRI-O: token endpoint refuses',
    text: 'unable to retrieve auth token: invalid username/password: unauthorized: Please login to the Red Hat Registry using your Customer Portal credentials.',
    fault: 'unauthorized',
  },
  {
    by: 'CRI-O: reading a manifest',
    text: 'initializing source docker://docker.example.com/team/app:1.2: reading manifest 1.2 in docker.example.com/team/app: unauthorized: authentication required',
    fault: 'unauthorized',
  },
  {
    by: 'CRI-O: the usual message alone',
    text: 'initializing source docker://docker.example.com/team/app:1.2: reading manifest 1.2 in docker.example.com/team/app: authentication required',
    fault: 'unauthorized',
  },
  {
    by: 'CRI-O: Quay',
    text: 'reading manifest latest in quay.io/team/app: unauthorized: access to the requested resource is not authorized',
    fault: 'unauthorized',
  },
  {
    by: 'CRI-O: denied',
    text: 'reading manifest 1.2 in docker.io/team/app: requested access to the resource is denied',
    fault: 'denied',
  },
  {
    by: 'CRI-O 1.20: both at once',
    text: 'Error reading manifest latest in docker.io/sonartype/nexus3: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required',
    fault: 'denied',
  },
  {
    by: 'CRI-O 1.26: token endpoint denies',
    text: 'Requesting bearer token: invalid status code from registry 403 (Forbidden)',
    fault: 'denied',
  },
  {
    by: 'CRI-O: a body that is no JSON',
    text: 'reading manifest 1.2 in docker.example.com/team/app: StatusCode: 403, "<html><head><title>403 Forbidden</title></head>..."',
    fault: 'denied',
  },
  {
    by: 'CRI-O: ECR, a token that has ended',
    text: 'reading manifest 1 in 123456789012.dkr.ecr.eu-central-1.amazonaws.com/app: denied: Your authorization token has expired. Reauthenticate and try again.',
    fault: 'unauthorized',
  },
  {
    by: 'CRI-O: ECR, may not',
    text: 'reading manifest 1 in 123456789012.dkr.ecr.eu-central-1.amazonaws.com/app: denied: User: arn:aws:sts::123456789012:assumed-role/node/i-1 is not authorized to perform: ecr:BatchGetImage',
    fault: 'denied',
  },
  {
    by: 'CRI-O: no such tag',
    text: 'reading manifest 9 in docker.example.com/team/app: manifest unknown',
    fault: 'not found',
  },
  {
    by: 'CRI-O: no such repository',
    text: 'reading manifest 9 in docker.example.com/team/app: name unknown: repository name not known to registry',
    fault: 'not found',
  },
  {
    by: 'CRI-O: too many',
    text: 'reading manifest 1 in docker.io/library/alpine: too many requests to registry',
    fault: 'rate limited',
  },
  {
    by: 'CRI-O: Docker Hub limits',
    text: 'loading manifest for target platform: reading manifest sha256:1070 in docker.io/team/app: toomanyrequests: You have reached your pull rate limit.',
    fault: 'rate limited',
  },
  {
    by: 'CRI-O: connection refused',
    text: 'RegistryUnavailable: pinging container registry 127.0.0.1:5000: Get "https://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused',
    fault: 'registry',
  },
  {
    by: 'CRI-O: 503',
    text: 'pinging container registry docker.example.com: received unexpected HTTP status: 503 Service Unavailable',
    fault: 'registry',
  },
  {
    by: 'CRI-O: signature',
    text: 'SignatureValidationFailed: Source image rejected: A signature was required, but no signature exists',
    fault: 'signature',
  },
  {
    by: 'CRI-O 1.26: signature',
    text: 'Source image rejected: Running image docker://docker.example.com/a:1 is rejected by policy.',
    fault: 'signature',
  },
  {
    by: 'CRI-O: disk full',
    text: 'writing blob: storing blob to file "/var/tmp/storage1/1": write /var/tmp/storage1/1: no space left on device',
    fault: 'full',
  },
  // dockerd behind cri-dockerd
  {
    by: 'dockerd: refused',
    text: 'Error response from daemon: Head "https://docker.example.com/v2/team/app/manifests/1.2": unauthorized: incorrect username or password',
    fault: 'unauthorized',
  },
  {
    by: 'dockerd: nothing shown',
    text: 'Error response from daemon: Get https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/v2/app/manifests/1: no basic auth credentials',
    fault: 'unauthorized',
  },
  {
    by: 'dockerd: denied',
    text: "Error response from daemon: pull access denied for team/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    fault: 'denied',
  },
  {
    by: 'dockerd: no such tag',
    text: 'Error response from daemon: manifest for docker.example.com/team/app:9 not found: manifest unknown: manifest unknown',
    fault: 'not found',
  },
  {
    by: 'dockerd: limits',
    text: 'Error response from daemon: toomanyrequests: You have reached your pull rate limit.',
    fault: 'rate limited',
  },
  {
    by: 'dockerd: 429 without JSON',
    text: 'Error response from daemon: error parsing HTTP 429 response body: unexpected end of JSON input: ""',
    fault: 'rate limited',
  },
  {
    by: 'cri-dockerd: 502',
    text: 'RegistryUnavailable: Error response from daemon: received unexpected HTTP status: 502 Bad Gateway',
    fault: 'registry',
  },
  {
    by: 'dockerd: cannot connect',
    text: 'Error response from daemon: Get "https://docker.example.com/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)',
    fault: 'registry',
  },
  {
    by: 'cri-dockerd: dockerd is down',
    text: 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?',
    fault: 'runtime',
  },
  { by: 'cri-dockerd: too slow', text: 'operation timeout: context deadline exceeded', fault: 'stopped' },
  // statuses
  {
    by: 'grpc-go: the runtime has gone',
    status: unavailable,
    text: 'error reading from server: EOF',
    fault: 'runtime',
  },
  { by: 'a status alone', status: deadline, text: '', fault: 'stopped' },
  { by: 'a status alone', status: denied, text: '', fault: 'denied' },
  { by: 'a status alone', status: unauthenticated, text: 'not you', fault: 'unauthorized' },
  {
    by: 'a message that is too large',
    status: exhausted,
    text: 'grpc: received message larger than max (20 vs. 16)',
    fault: 'other',
  },
  {
    by: 'a service like this one',
    status: deadline,
    text: 'no progress of the pull from x.test: 1m',
    fault: 'stalled',
  },
  {
    by: 'a service like this one',
    text: 'the registry x.test answers unauthorized: no',
    fault: 'unauthorized',
  },
  { by: 'a service like this one', text: 'the registry x.test answers denied: no', fault: 'denied' },
  { by: 'nothing at all', text: '', fault: 'other' },
  // An image's author chooses its name.
  {
    by: 'a repository called denied',
    text: 'failed to pull and unpack image "x.test/denied:1": x.test/denied: something else',
    fault: 'other',
  },
  {
    by: 'a tag called unauthorized',
    status: notFound,
    text: 'failed to resolve reference "x.test/a:unauthorized": x.test/a:unauthorized: not found',
    fault: 'not found',
  },
  {
    by: 'a repository called toomanyrequests',
    text: 'reading manifest 1 in x.test/toomanyrequests: manifest unknown',
    fault: 'not found',
  },
  {
    by: 'a file that may not be read',
    text: 'failed to pull: mkdir /var/lib/x: permission denied',
    fault: 'other',
  },
];

describe('why a pull failed, as runtimes say it', () => {
  for (const { by, status = unknown as number, text, fault, asked = image } of cases) {
    test(`${by}: ${text.slice(-60)}`, () => assert.equal(faultOf(status, text, asked), fault));
  }

  test('takes no longer for what is long', () => {
    for (const text of ['/'.repeat(1e6), 'a'.repeat(1e6), '":'.repeat(1e6), ' x/:'.repeat(3e5)]) {
      assert.equal(faultOf(unknown as number, text, image), 'other');
    }
  });
});

describe('a tag that is a word of ours does not decide', () => {
  const at = 'docker.example.com/app';
  const words = ['unauthorized', 'invalid_token', 'insufficient_scope', 'denied', 'EOF', 'toomanyrequests'];
  const texts: readonly (readonly [text: (tag: string) => string, fault: PullFault])[] = [
    [(tag) => `reading manifest ${tag} in ${at}: manifest unknown`, 'not found'],
    [(tag) => `reading manifest ${tag} in ${at}: unknown: tag ${tag}: something else`, 'other'],
    [(tag) => `manifest for ${at}:${tag} not found: manifest tagged by "${tag}" is not found`, 'not found'],
    [(tag) => `${at}:${tag}: Failed to fetch "${tag}": manifest unknown: ${tag}: no`, 'not found'],
    [(tag) => `unexpected status code [manifests ${tag}]: 404 Not Found`, 'not found'],
    [(tag) => `reading manifest ${tag} in ${at}: StatusCode: 401`, 'unauthorized'],
  ];
  for (const tag of words) {
    for (const [text, fault] of texts) {
      test(text(tag), () => assert.equal(faultOf(unknown as number, text(tag), `${at}:${tag}`), fault));
    }
  }

  test('and the number of a build takes no status away', () => {
    const numbers: readonly (readonly [text: string, fault: PullFault])[] = [
      ['401 Unauthorized', 'unauthorized'],
      ['403 Forbidden', 'denied'],
      ['404 Not Found', 'not found'],
      ['429 Too Many Requests', 'rate limited'],
      ['502 Bad Gateway', 'registry'],
    ];
    for (const [said, fault] of numbers) {
      const tag = said.slice(0, 3);
      const text = `unexpected status code [manifests ${tag}]: ${said}`;
      assert.equal(faultOf(unknown as number, text, `${at}:${tag}`), fault, text);
    }
  });

  test('and what was asked for may be no image', () => {
    assert.equal(faultOf(unknown as number, 'invalid reference format', ' :'), 'other');
  });
});

describe('why a pull failed, as a runtime without CRI says it', () => {
  const codes: readonly (readonly [ErrorCode, PullFault])[] = [
    ['UNAUTHORIZED', 'unauthorized'],
    ['DENIED', 'denied'],
    ['NAME_UNKNOWN', 'not found'],
    ['MANIFEST_UNKNOWN', 'not found'],
    ['TOOMANYREQUESTS', 'rate limited'],
    ['UNAVAILABLE', 'registry'],
    ['NAME_INVALID', 'other'],
  ];
  for (const [code, fault] of codes) {
    test(code, () => assert.equal(faultOfError(new RegistryError(code)), fault));
  }
  const faults: readonly (readonly [RuntimeFault, PullFault])[] = [
    ['unavailable', 'runtime'],
    ['stalled', 'stalled'],
    ['signature', 'signature'],
    ['full', 'full'],
    ['in use', 'other'],
    ['failed', 'other'],
  ];
  for (const [said, fault] of faults) {
    test(said, () => assert.equal(faultOfError(new RuntimeError(said, '')), fault));
  }
  test('anything else', () => assert.equal(faultOfError(new Error('denied: ')), 'other'));
});
