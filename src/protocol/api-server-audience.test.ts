import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isApiServerAudience } from './api-server-audience.js';

describe('an audience of API servers', () => {
  for (const [audience, expected] of [
    ['https://kubernetes.default.svc', true],
    ['HTTPS://kubernetes.default.svc', true],
    ['http://kubernetes.default.svc/', true],
    ['kubernetes.default.svc', true],
    ['kubernetes.default.svc.', true],
    ['https://Kubernetes.Default.Svc.cluster.local:443', true],
    ['kubernetes.default.svc.corp.example.com', true],
    ['kubernetes.default', true],
    ['https://kubernetes', true],
    ['kubernetes.svc.default', true],
    ['k3s', true],
    ['RKE2', true],
    ['api', true],
    ['docker.example.com', false],
    ['kubernetes.example.com', false],
    ['https://docker.example.com/kubernetes.default.svc', false],
    ['my-kubernetes.default.svc', false],
    ['kubernetes.default.svcs', false],
    ['api://registry', false],
    ['api.example.com', false],
    ['registry-api', false],
    ['k3s.example.com', false],
  ] as const) {
    test(`${audience}: ${expected ? 'it is' : 'it is not'}`, () => {
      assert.equal(isApiServerAudience(audience), expected);
    });
  }
});
