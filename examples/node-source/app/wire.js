// The messages and services of the contract, of go-plugin and of gRPC, read from their .proto files when the island is packed.

import protobuf from 'protobufjs';

import contract from '../../../sdk/proto/islands/v1/islands.proto';
import goplugin from '../proto/goplugin.proto';
import health from '../proto/health.proto';
import status from '../proto/status.proto';

// Of two of Google's messages there are handier forms: a Date, and an object of texts and numbers.
convert('.google.protobuf.Timestamp', (at) => at instanceof Date, (at) => {
  const seconds = Math.floor(at / 1000);
  return { seconds, nanos: (at - seconds * 1000) * 1e6 };
});
convert('.google.protobuf.Struct', (object) => !('fields' in object), (object) => ({
  fields: Object.fromEntries(Object.entries(object).map(([name, value]) =>
    [name, typeof value === 'number' ? { numberValue: value } : { stringValue: String(value) }])),
}));

function convert(type, handy, form) {
  protobuf.wrappers[type] = {
    fromObject(object) {
      return this.fromObject(handy(object) ? form(object) : object);
    },
    toObject(message, options) {
      return this.toObject(message, options);
    },
  };
}

const root = new protobuf.Root();
const imported = new Set();
for (const text of [contract, goplugin, health, status]) {
  for (const file of protobuf.parse(text, root, { keepCase: true }).imports ?? []) {
    if (!imported.has(file)) {
      imported.add(file);
      root.addJSON(protobuf.common.get(file).nested);
    }
  }
}
root.resolveAll();

// encode turns an object into the bytes of a message, which is named as in the .proto file. Fields that are null or undefined are
// absent; enums are their names or their numbers.
export function encode(name, object) {
  return encoded(root.lookupType(name), object);
}

// service returns what grpc.Server.addService wants of a service.
export function service(name) {
  return Object.fromEntries(root.lookupService(name).methodsArray.map((method) => [method.name, {
    path: `/${name}/${method.name}`,
    requestStream: Boolean(method.requestStream),
    responseStream: Boolean(method.responseStream),
    requestSerialize: (object) => encoded(method.resolvedRequestType, object),
    requestDeserialize: (bytes) => method.resolvedRequestType.decode(bytes),
    responseSerialize: (object) => encoded(method.resolvedResponseType, object),
    responseDeserialize: (bytes) => method.resolvedResponseType.decode(bytes),
  }]));
}

function encoded(type, object) {
  return Buffer.from(type.encode(type.fromObject(object)).finish());
}
