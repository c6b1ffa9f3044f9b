// Why calls do not succeed, in the kinds that the host acts on.

// Kind holds the names that the contract has for them.
export const Kind = Object.freeze({
  INTERNAL: 'KIND_INTERNAL',
  INVALID_ARGUMENT: 'KIND_INVALID_ARGUMENT',
  NOT_FOUND: 'KIND_NOT_FOUND',
  RATE_LIMITED: 'KIND_RATE_LIMITED',
  UNAVAILABLE: 'KIND_UNAVAILABLE',
  DEADLINE_EXCEEDED: 'KIND_DEADLINE_EXCEEDED',
  CANCELED: 'KIND_CANCELED',
  UNAUTHENTICATED: 'KIND_UNAUTHENTICATED',
  PERMISSION_DENIED: 'KIND_PERMISSION_DENIED',
  BAD_UPSTREAM: 'KIND_BAD_UPSTREAM',
  UNSUPPORTED: 'KIND_UNSUPPORTED',
  CONFLICT: 'KIND_CONFLICT',
  RESOURCE_EXHAUSTED: 'KIND_RESOURCE_EXHAUSTED',
});

// Failure is what a call throws that does not succeed. The message is in lower case and holds no secret.
export class Failure extends Error {
  // retryAfter is in seconds, undefined when nobody knows; setting is the name of the one at fault.
  constructor(kind, message, { retryAfter, setting = '' } = {}) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
    this.setting = setting;
  }
}

// nameOf returns the name of a kind as it is read, such as "rate limited".
export function nameOf(kind) {
  return kind.replace('KIND_', '').replaceAll('_', ' ').toLowerCase();
}

// abandoned says why nothing came of something whose caller has gone.
export function abandoned(what, call) {
  if (call.remaining() <= 0.05) {
    return new Failure(Kind.DEADLINE_EXCEEDED, `${what}: no answer within the call's deadline`);
  }
  return new Failure(Kind.CANCELED, `${what}: the caller has gone`);
}
