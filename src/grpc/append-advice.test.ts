import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { appendAdvice } from './append-advice.js';
import { firstValue } from './raw-headers.js';
import { decodeStatusMessage } from './status.js';
import type { WholeAnswer } from './whole-answer.js';

const advice = 'add a rule for “docker.example.com”: 100% sure';
const ok = [':status', '200', 'content-type', 'application/grpc'];
const inTrailers = (...trailers: string[]): WholeAnswer => ({ headers: ok, body: Buffer.alloc(0), trailers });
const alone = (...headers: string[]): WholeAnswer => ({
  headers: [...ok, ...headers],
  body: Buffer.alloc(0),
});
const last = ({ headers, trailers }: WholeAnswer) => trailers ?? headers;
const toldBy = (answer: WholeAnswer) => decodeStatusMessage(firstValue(last(answer), 'grpc-message') ?? '');

const added = `kubelet-image-service: ${advice}`;

describe('the message ends with the advice', () => {
  const cases: Readonly<Record<string, readonly [answer: WholeAnswer, told: string]>> = {
    'in trailers': [
      inTrailers('grpc-status', '2', 'grpc-message', 'RegistryUnavailable: x', 'x-after', '1'),
      `RegistryUnavailable: x; ${added}`,
    ],
    'in headers alone': [
      alone('grpc-status', '2', 'grpc-message', 'SignatureValidationFailed: %25'),
      `SignatureValidationFailed: %; ${added}`,
    ],
    'where there was no message': [inTrailers('grpc-status', '2'), added],
    'where it was encoded otherwise': [
      inTrailers('grpc-status', '2', 'grpc-message', 'bare % and %zz'),
      `bare % and %zz; ${added}`,
    ],
  };
  for (const [name, [answer, told]] of Object.entries(cases)) {
    test(name, () => {
      const advised = appendAdvice(answer, advice);
      assert.equal(toldBy(advised), told);
      assert.equal(advised.trailers === undefined, answer.trailers === undefined, 'where it stood');
      const rest = (one: WholeAnswer) =>
        last(one).filter((text, i, all) => text !== 'grpc-message' && all[i - 1] !== 'grpc-message');
      assert.deepEqual(rest(advised), rest(answer), 'all else as it was');
      assert.match(firstValue(last(advised), 'grpc-message') ?? '', /^[ -~]*$/, 'percent-encoded');
    });
  }
});

describe('the details', () => {
  /** google.rpc.Status: code=1, message=2, details=3 */
  const status = (message: string, ...others: Uint8Array[]) =>
    Buffer.concat([
      new BinaryWriter().tag(1, WireType.Varint).int32(2).finish(),
      new BinaryWriter().tag(2, WireType.LengthDelimited).string(message).finish(),
      ...others,
    ]);
  const detail = new BinaryWriter().tag(3, WireType.LengthDelimited).bytes(Buffer.from('any')).finish();

  for (const padding of ['', '=', '==']) {
    test(`their message ends with it too, with ${padding.length} characters of padding`, () => {
      const bytes = status('x'.repeat(padding.length), detail);
      const encoded = bytes.toString('base64').replace(/=+$/, '') + padding;
      const advised = appendAdvice(
        inTrailers('grpc-status', '2', 'grpc-message', 'x', 'grpc-status-details-bin', encoded),
        advice,
      );
      const value = firstValue(last(advised), 'grpc-status-details-bin') ?? '';
      assert.doesNotMatch(value, /=/, 'unpadded');
      assert.deepEqual(fieldsOf(Buffer.from(value, 'base64')), {
        1: ['2'],
        2: [padding === '' ? added : `${'x'.repeat(padding.length)}; ${added}`],
        3: ['any'],
      });
    });
  }

  test('what is no such message stays as it is', () => {
    const answer = inTrailers('grpc-status', '2', 'grpc-message', 'x', 'grpc-status-details-bin', '////');
    const advised = appendAdvice(answer, advice);
    assert.equal(firstValue(last(advised), 'grpc-status-details-bin'), '////');
    assert.equal(toldBy(advised), `x; ${added}`);
  });

  function fieldsOf(bytes: Uint8Array): Record<number, string[]> {
    const reader = new BinaryReader(bytes);
    const fields: Record<number, string[]> = {};
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      const value = type === WireType.Varint ? String(reader.int32()) : reader.string();
      fields[field] = [...(fields[field] ?? []), value];
    }
    return fields;
  }
});

describe('the answer stays as it is', () => {
  const cases: Readonly<Record<string, WholeAnswer>> = {
    'where there is no room': inTrailers('grpc-status', '2', 'grpc-message', 'm'.repeat(8100)),
    'where details leave none': inTrailers('grpc-status', '2', 'grpc-status-details-bin', 'A'.repeat(8100)),
    'where it has no status': { headers: [':status', '503'], body: Buffer.from('no'), trailers: [] },
  };
  for (const [name, answer] of Object.entries(cases)) {
    test(name, () => assert.equal(appendAdvice(answer, advice), answer));
  }
});
