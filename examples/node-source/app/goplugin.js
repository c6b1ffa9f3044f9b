// The part of HashiCorp's go-plugin that a program plays when a host starts it.
//
// A host starts the program with a magic cookie, a certificate and a folder for a socket in the environment. The program
// opens a gRPC server on a socket in that folder, with mutual TLS by certificates that both sides made for this one run,
// and prints one line that says where. Nothing here knows what the island does.

import { execFile } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import grpc from '@grpc/grpc-js';

import { output, prepare } from './process.js';
import { service } from './wire.js';

const coreProtocol = 1;
const maxMessage = 16 << 20;
const farewell = 1000; // How long calls may go on after the host has said that it is over, in milliseconds.

// certificate makes a key and a certificate for this run. Node cannot; openssl can.
async function certificate() {
  const args = [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', '-', '-days', '3650',
    '-subj', '/O=service-islands/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
    '-addext', 'extendedKeyUsage=serverAuth,clientAuth',
  ];
  let made;
  try {
    const running = promisify(execFile)('openssl', args, { timeout: 5000 });
    running.child.stdin.end();
    made = (await running).stdout;
  } catch (e) {
    if (e.code === 'ENOENT') {
      throw new Error('the certificate for the connection to the host is made by openssl, which is not installed');
    }
    throw new Error(`openssl made no certificate: ${(e.stderr || e.message).trim()}`);
  }
  const begins = made.indexOf('-----BEGIN CERTIFICATE-----');
  return { key: Buffer.from(made.slice(0, begins)), cert: Buffer.from(made.slice(begins)) };
}

// serve serves what register adds to the server, until the host says that it is over.
export async function serve(register, protocol) {
  prepare();
  const folder = process.env.PLUGIN_UNIX_SOCKET_DIR ?? '';
  const client = process.env.PLUGIN_CLIENT_CERT ?? '';
  if (folder === '' || client === '') {
    throw new Error('the host names no PLUGIN_UNIX_SOCKET_DIR or no PLUGIN_CLIENT_CERT: it is not one of Service Islands');
  }
  const { key, cert } = await certificate();
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessage,
    'grpc.max_send_message_length': maxMessage,
  });
  server.addService(service('grpc.health.v1.Health'), {
    // go-plugin asks whether the program serves.
    Check: (_call, answer) => answer(null, { status: 'SERVING' }),
  });
  server.addService(service('plugin.GRPCController'), {
    Shutdown: (_call, answer) => {
      answer(null, {});
      setImmediate(end, server);
    },
  });
  server.addService(service('plugin.GRPCStdio'), { StreamStdio: (call) => output.carry(call) });
  register(server);
  const socket = path.join(folder, `plugin${randomBytes(4).toString('hex')}`);
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(client), [{ private_key: key, cert_chain: cert }], true);
  await promisify(server.bindAsync.bind(server))(`unix:${socket}`, credentials);
  const raw = new X509Certificate(cert).raw.toString('base64').replace(/=+$/, '');
  fs.writeSync(1, `${coreProtocol}|${protocol}|unix|${socket}|grpc|${raw}\n`);
}

// end ends the process, with the calls that are under way if they end soon.
function end(server) {
  output.end();
  server.tryShutdown(() => process.exit(0));
  setTimeout(() => process.exit(0), farewell);
}
