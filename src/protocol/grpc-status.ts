/** gRPC status codes: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
export const grpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcStatusName = keyof typeof grpcStatus;

const names = new Map<number, GrpcStatusName>(
  (Object.keys(grpcStatus) as GrpcStatusName[]).map((name) => [grpcStatus[name], name]),
);

/** A closed set, for logs and labels. @returns UNKNOWN for a code that gRPC does not know, as its clients take it */
export function statusName(code: number): GrpcStatusName {
  return names.get(code) ?? 'UNKNOWN';
}
