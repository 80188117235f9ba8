import { Readable } from 'node:stream';
import type { CallOptions } from '../contracts/call-options.js';
import type { RegistryRequest, RegistryResponse } from '../contracts/registry-request.js';
import type { ProbeStep, Upstream } from '../contracts/upstream.js';
import { RegistryError } from '../errors.js';
import { parseRegistryHost } from '../reference/registry-host.js';

export type UpstreamAnswer = (request: RegistryRequest, o: CallOptions) => Promise<RegistryResponse>;

/** Answers by a function, changed at any time, and keeps what it was asked. Without one it is down. */
export class FakeUpstream implements Upstream {
  readonly registry = parseRegistryHost('upstream.example.com');
  answer: UpstreamAnswer;
  readonly requests: RegistryRequest[] = [];
  closed = false;

  constructor(answer: UpstreamAnswer = () => Promise.reject(new RegistryError('UNAVAILABLE'))) {
    this.answer = answer;
  }

  async fetch(request: RegistryRequest, o: CallOptions): Promise<RegistryResponse> {
    o.signal.throwIfAborted();
    if (this.closed) throw new RegistryError('UNAVAILABLE', { reason: 'closed' });
    this.requests.push(request);
    return this.answer(request, o);
  }

  canonicalName(name: string): string {
    return name;
  }

  async probe(): Promise<readonly ProbeStep[]> {
    return [{ step: 'registry', result: 'fine', said: 'it is a fake' }];
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** An upstream's answer from what it carries. */
export function upstreamResponse(
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body?: Uint8Array | string,
): RegistryResponse {
  return {
    status,
    headers: new Map(Object.entries(headers)),
    ...(body !== undefined && { body: Readable.from([Buffer.from(body)]) }),
  };
}
