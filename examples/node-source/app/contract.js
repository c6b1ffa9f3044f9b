// The contract of Service Islands as an island in JavaScript keeps it: errors with kinds, and the life.
//
// The host's side of it, with the meaning of every field, is sdk/proto/islands/v1/islands.proto.

import grpc from '@grpc/grpc-js';

import { Failure, Kind } from './failure.js';
import * as goplugin from './goplugin.js';
import { log } from './process.js';
import { Settings } from './settings.js';
import { encode, service } from './wire.js';

const maxText = 1024; // gRPC carries it in a header, and headers are bounded.
const atOnce = 256; // Calls of roles; beyond them memory would have no bound. Health and metrics are always answered.
const layers = { infrastructure: 1, external_services: 2, business_logic: 5 };

const codes = {
  [Kind.INTERNAL]: grpc.status.INTERNAL,
  [Kind.INVALID_ARGUMENT]: grpc.status.INVALID_ARGUMENT,
  [Kind.NOT_FOUND]: grpc.status.NOT_FOUND,
  [Kind.RATE_LIMITED]: grpc.status.RESOURCE_EXHAUSTED,
  [Kind.UNAVAILABLE]: grpc.status.UNAVAILABLE,
  [Kind.DEADLINE_EXCEEDED]: grpc.status.DEADLINE_EXCEEDED,
  [Kind.CANCELED]: grpc.status.CANCELLED,
  [Kind.UNAUTHENTICATED]: grpc.status.UNAUTHENTICATED,
  [Kind.PERMISSION_DENIED]: grpc.status.PERMISSION_DENIED,
  [Kind.BAD_UPSTREAM]: grpc.status.DATA_LOSS,
  [Kind.UNSUPPORTED]: grpc.status.UNIMPLEMENTED,
  [Kind.CONFLICT]: grpc.status.ABORTED,
  [Kind.RESOURCE_EXHAUSTED]: grpc.status.RESOURCE_EXHAUSTED,
};

// Call is what a method knows of whoever asks: a signal that aborts when he goes, by cancellation or by his deadline, and the
// id of the client's request, by which the logs of all processes are joined.
class Call {
  #deadline;
  #leaving = new AbortController();

  constructor(call) {
    this.#deadline = Number(call.getDeadline());
    this.signal = this.#leaving.signal;
    this.requestId = String(call.metadata.get('islands-request-id')[0] ?? '');
    call.on('cancelled', () => this.#leaving.abort());
    if (call.cancelled) {
      this.#leaving.abort();
    }
  }

  // remaining is how many seconds are left; plenty when there is no deadline.
  remaining() {
    return Math.min(3600, (this.#deadline - Date.now()) / 1000);
  }
}

// status is how a failure travels: a gRPC status whose one detail is the failure.
function status(failure) {
  const message = failure.message.slice(0, maxText);
  const code = codes[failure.kind];
  const detail = { kind: failure.kind, message, setting: failure.setting };
  if (failure.retryAfter !== undefined) {
    const millis = Math.max(0, Math.trunc(failure.retryAfter * 1000));
    detail.retry_after = { seconds: Math.floor(millis / 1000), nanos: (millis % 1000) * 1e6 };
  }
  const metadata = new grpc.Metadata();
  metadata.set('grpc-status-details-bin', encode('google.rpc.Status', {
    code, message, details: [{ type_url: 'type.googleapis.com/islands.v1.Failure', value: encode('islands.v1.Failure', detail) }],
  }));
  return { code, details: message, metadata };
}

// unary turns a function that returns an answer or throws into one that gRPC can call. What nobody meant to throw is an internal
// error of that call alone, with its stack in the log.
function unary(name, method) {
  return async (rpc, answer) => {
    const call = new Call(rpc);
    try {
      answer(null, await method(rpc.request, call));
    } catch (e) {
      if (e instanceof Failure) {
        answer(status(e));
        return;
      }
      log('ERROR', `exception in ${name}`, { request_id: call.requestId, stack: String(e?.stack ?? e) });
      answer(status(new Failure(Kind.INTERNAL, `the island threw an exception in ${name}`)));
    }
  };
}

// serve serves an island until its host ends it. make(settings, name) returns what answers: an object with health(), metrics()
// and close(), and a method for each role.
export async function serve(manifest, make) {
  let initialized = false;
  let source;
  let underWay = 0;

  const life = {
    Manifest: () => {
      const { layer, protocol, ...rest } = manifest;
      return { manifest: { ...rest, layer: layers[layer], protocol_major: protocol.major, protocol_minor: protocol.minor } };
    },
    Initialize: (request) => {
      if (initialized) {
        throw new Failure(Kind.INVALID_ARGUMENT, 'Initialize was called twice');
      }
      initialized = true;
      source = make(new Settings(manifest.settings, request.settings_json), request.name);
      return {};
    },
    Health: () => source?.health() ?? { status: 'STATUS_FAILED', reason: 'not initialized' },
    Metrics: () => ({ metrics: source?.metrics() ?? [] }),
    Shutdown: async () => {
      await source?.close();
      return {};
    },
  };

  const role = (name) => async (request, call) => {
    const method = name.toLowerCase();
    if (!manifest.roles.includes(method)) {
      throw new Failure(Kind.UNSUPPORTED, `this island does not have the role ${method}`);
    }
    if (!source) {
      throw new Failure(Kind.UNAVAILABLE, `${name} came before Initialize`);
    }
    if (underWay >= atOnce) {
      throw new Failure(Kind.RESOURCE_EXHAUSTED, `${atOnce} calls are under way; more are refused`);
    }
    underWay += 1;
    try {
      return await source[method](request, call);
    } finally {
      underWay -= 1;
    }
  };

  await goplugin.serve((server) => {
    server.addService(service('islands.v1.IslandService'), implementation(Object.entries(life)));
    const calls = ['Quotes', 'Candles', 'Global', 'Sentiment', 'Catalogue'].map((name) => [name, role(name)]);
    server.addService(service('islands.v1.SourceService'), {
      ...implementation(calls),
      Stream: (call) => call.emit('error', status(new Failure(Kind.UNSUPPORTED, 'this island does not have the role stream'))),
    });
  }, manifest.protocol.major);
}

function implementation(methods) {
  return Object.fromEntries(methods.map(([name, method]) => [name, unary(name, method)]));
}
