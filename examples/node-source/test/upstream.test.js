import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { Client, retryAfter } from '../app/upstream.js';
import { answer, caller, service } from './service.js';

process.env.ISLANDS_LOG_LEVEL = 'ERROR';
for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy', 'SSL_CERT_FILE']) {
  delete process.env[name];
}

// client asks a service with a budget per minute until the test is over.
function client(t, url, { timeout = 30, perMinute = 1e6 } = {}) {
  const c = new Client(url, timeout, perMinute, () => undefined);
  t.after(() => c.close());
  return c;
}

test('statuses have their kinds', async (t) => {
  for (const [what, handle, kind, after] of [
    ['429', answer(429, '', { 'Retry-After': '7' }), 'RATE_LIMITED', 7],
    ['429 without a Retry-After', answer(429), 'RATE_LIMITED', 60],
    ['401', answer(401), 'UNAUTHENTICATED'],
    ['403', answer(403, '<html>'), 'PERMISSION_DENIED'],
    ['404', answer(404, '<html>'), 'BAD_UPSTREAM'],
    ['a redirect', answer(302, '', { Location: 'http://127.0.0.1:1/' }), 'BAD_UPSTREAM'],
    ['503', answer(503, '', { 'Retry-After': '30' }), 'UNAVAILABLE', 30],
    ['garbage', answer(200, '<html>'), 'BAD_UPSTREAM'],
    ['nothing', answer(200), 'BAD_UPSTREAM'],
    ['too deep', answer(200, '['.repeat(200000)), 'BAD_UPSTREAM'],
    ['less than promised', answer(200, '[', { 'Content-Length': '100', Connection: 'close' }), 'UNAVAILABLE'],
    ['a hang-up', (request) => request.socket.destroy(), 'UNAVAILABLE'],
    ['a byte too much', answer(200, '['.padEnd(8 << 20) + ']'), 'BAD_UPSTREAM'],
    ['too much', (_request, response) => {
      const piece = Buffer.alloc(1 << 20, ' ');
      const more = () => {
        while (!response.destroyed && response.write(piece));
      };
      response.on('drain', more);
      more();
    }, 'BAD_UPSTREAM'],
  ]) {
    const c = client(t, `http://${await service(t, handle)}`);
    await assert.rejects(c.get('/x', {}, caller(), 0), { kind: `KIND_${kind}`, retryAfter: after }, what);
    assert.equal(c.health().status, 'STATUS_DEGRADED', what);
  }
});

test('a service that is not there is named by its trouble alone', async (t) => {
  const c = client(t, 'http://127.0.0.1:1/key-in-the-path');
  await assert.rejects(c.get('/x', {}, caller(), 0), { kind: 'KIND_UNAVAILABLE', message: 'GET /x: ECONNREFUSED' });
});

test('nothing is sent while the service wants silence', async (t) => {
  let asked = 0;
  const c = client(t, `http://${await service(t, (request, response) => {
    asked += 1;
    answer(429, '', { 'Retry-After': '600' })(request, response);
  })}`);
  await assert.rejects(c.get('/x', {}, caller(), 3), { kind: 'KIND_RATE_LIMITED' });
  await assert.rejects(c.get('/x', {}, caller(), 3), (e) => e.kind === 'KIND_RATE_LIMITED' && e.retryAfter > 500 && e.retryAfter <= 600);
  assert.equal(asked, 1);
});

test('the budget is kept', async (t) => {
  const c = client(t, `http://${await service(t, answer(200, '{}'))}`, { perMinute: 8 });
  await c.get('/x', {}, caller(), 0);
  await c.get('/x', {}, caller(), 0);
  await assert.rejects(c.get('/x', {}, caller(), 0), (e) => e.kind === 'KIND_RATE_LIMITED' && e.retryAfter > 0 && e.retryAfter <= 10);
});

test('a failed attempt is followed by as many as the host allows', async (t) => {
  let asked = 0;
  const c = client(t, `http://${await service(t, (request, response) => {
    asked += 1;
    answer(asked < 3 ? 500 : 200, '{"well":true}')(request, response);
  })}`);
  assert.deepEqual(await c.get('/x', {}, caller(), 2), { well: true });
  assert.equal(asked, 3);
  assert.equal(c.health().status, 'STATUS_OK');
  const families = Object.fromEntries(c.metrics().map((f) => [f.name, f.samples]));
  assert.deepEqual(families.upstream_calls_total, [{ labels: { outcome: 'ok' }, value: 1 }, { labels: { outcome: 'unavailable' }, value: 2 }]);
  assert.deepEqual(families.upstream_retries_total, [{ value: 2 }]);
});

test('a connection that was kept and is gone is no failure', async (t) => {
  let asked = 0;
  const c = client(t, `http://${await service(t, (request, response) => {
    asked += 1;
    if (asked === 2) {
      request.socket.destroy(); // As if the connection had been idle for too long.
      return;
    }
    answer(200, '{}')(request, response);
  })}`);
  await c.get('/x', {}, caller(), 0);
  await c.get('/x', {}, caller(), 0);
  assert.equal(asked, 3);
});

test('who leaves is not waited for', async (t) => {
  for (const [what, handle] of [
    ['before the answer', () => {}],
    ['within the answer', (_request, response) => response.write('[')],
  ]) {
    let cut;
    const gone = new Promise((resolve) => {
      cut = resolve;
    });
    const someone = caller();
    const c = client(t, `http://${await service(t, (request, response) => {
      request.socket.on('close', cut);
      handle(request, response);
      setTimeout(someone.leave, 10);
    })}`);
    await assert.rejects(c.get('/x', {}, someone, 3), { kind: 'KIND_CANCELED' }, what);
    await gone; // The connection is not left to the service.
    assert.equal(c.health().status, 'STATUS_OK', what); // Which says nothing about the service.
  }
});

test('times are bounded', async (t) => {
  const url = `http://${await service(t, (_request, response) => response.write('['))}`;
  await assert.rejects(client(t, url, { timeout: 0.05 }).get('/x', {}, caller(), 0), { kind: 'KIND_UNAVAILABLE', message: /no answer in time/ });
  const c = client(t, url);
  await assert.rejects(c.get('/x', {}, caller(0.1), 5), { kind: 'KIND_DEADLINE_EXCEEDED' });
  assert.equal(c.health().status, 'STATUS_OK'); // That the caller was in a hurry says nothing about the service.
});

test('for who is gone or late nothing is sent, and nothing counted', async (t) => {
  let asked = 0;
  const c = client(t, `http://${await service(t, (request, response) => {
    asked += 1;
    answer(200, '{}')(request, response);
  })}`, { perMinute: 8 });
  for (let i = 0; i < 5; i += 1) {
    const someone = caller();
    someone.leave();
    await assert.rejects(c.get('/x', {}, someone, 3), { kind: 'KIND_CANCELED' });
    await assert.rejects(c.get('/x', {}, caller(0), 3), { kind: 'KIND_DEADLINE_EXCEEDED' });
  }
  assert.equal(asked, 0);
  for (const { name, samples } of c.metrics()) {
    assert.ok(samples.every((sample) => !(sample.value > 0) && !(sample.histogram?.count > 0)), name);
  }
  await c.get('/x', {}, caller(), 0); // The budget of two at once is whole.
  await c.get('/x', {}, caller(), 0);
  assert.equal(asked, 2);
});

test('memory for answers is bounded', async (t) => {
  const body = JSON.stringify('ü'.repeat(150000)); // Large enough to be copied together.
  let [underWay, most] = [0, 0];
  const c = client(t, `http://${await service(t, (_request, response) => {
    underWay += 1;
    most = Math.max(most, underWay);
    const bytes = Buffer.from(body);
    response.write(bytes.subarray(0, 100001)); // Within a letter.
    setTimeout(() => {
      underWay -= 1;
      response.end(bytes.subarray(100001));
    }, 20);
  })}`);
  const answers = await Promise.all(Array.from({ length: 40 }, () => c.get('/x', {}, caller(), 0)));
  assert.ok(answers.every((said) => said.length === 150000 && said.endsWith('ü')));
  assert.ok(most > 1 && most <= 8, `${most} answers at once`); // Of eight megabytes each at most.
});

test('a proxy of the environment is used', async (t) => {
  const seen = [];
  const proxy = await service(t, (request, response) => {
    seen.push(request.url);
    answer(200, '{}')(request, response);
  });
  t.after(() => {
    delete process.env.http_proxy;
    delete process.env.no_proxy;
  });
  process.env.http_proxy = `http://${proxy}`;
  const c = client(t, 'http://exchange.example');
  process.env.no_proxy = 'exchange.example';
  const without = client(t, 'http://exchange.example');
  await c.get('/x', { a: 1 }, caller(), 0);
  assert.deepEqual(seen, ['http://exchange.example/x?a=1']);
  await assert.rejects(without.get('/x', {}, caller(0.5), 0));
  assert.equal(seen.length, 1);
});

test('a proxy that cannot be is refused by the name of its variable', (t) => {
  for (const [name, value, url] of [
    ['http_proxy', 'http://user:secret@proxy:port', 'http://exchange.example'],
    ['HTTPS_PROXY', 'http://', 'https://exchange.example'],
    ['https_proxy', 'http://secret proxy:3128', 'https://exchange.example'],
    ['all_proxy', 'socks5://secret:1080', 'http://exchange.example'],
    ['ALL_PROXY', 'secret:99999', 'https://exchange.example'],
  ]) {
    process.env[name] = value;
    t.after(() => delete process.env[name]);
    const refused = (e) => e.kind === 'KIND_INVALID_ARGUMENT' && e.message.startsWith(`${name} is no address of a proxy`) && !e.message.includes('secret');
    assert.throws(() => client(t, url), refused, `${name}=${value}`);
    process.env.no_proxy = 'exchange.example';
    client(t, url); // Which asks for none.
    delete process.env.no_proxy;
    delete process.env[name];
  }
});

test('certificates are checked, against those of SSL_CERT_FILE too', async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'node-source-'));
  t.after(() => {
    delete process.env.SSL_CERT_FILE;
    fs.rmSync(dir, { recursive: true });
  });
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(dir, name));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert,
  ], { stdio: 'ignore' });
  const server = https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) });
  const url = `https://${await service(t, answer(200, '{}'), server)}`;
  await assert.rejects(client(t, url).get('/x', {}, caller(), 0), { kind: 'KIND_UNAVAILABLE', message: /SELF_SIGNED/ });
  process.env.SSL_CERT_FILE = cert;
  assert.deepEqual(await client(t, url).get('/x', {}, caller(), 0), {});
  process.env.SSL_CERT_FILE = path.join(dir, 'none');
  assert.throws(() => client(t, url), { kind: 'KIND_INVALID_ARGUMENT', message: /SSL_CERT_FILE is .*none, which cannot be read: ENOENT/ });
});

test('Retry-After is a number or a date', () => {
  assert.equal(retryAfter('7'), 7);
  assert.equal(retryAfter(new Date(Date.now() - 5000).toUTCString()), 0);
  const soon = retryAfter(new Date(Date.now() + 60000).toUTCString());
  assert.ok(soon > 50 && soon <= 60, String(soon));
  for (const text of ['', '-1', '1.5', 'soon', undefined]) {
    assert.equal(retryAfter(text), undefined, text);
  }
});
