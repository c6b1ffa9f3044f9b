// What the tests share: a service on this machine and a caller.

import http from 'node:http';

// service answers with handle(request, response) until the test is over; its address is returned.
export async function service(t, handle, server = http.createServer()) {
  server.on('request', handle);
  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${server.address().port}`;
}

// answer is a handler that answers the same to everybody.
export function answer(status, body = '', headers = {}) {
  return (_request, response) => {
    response.writeHead(status, headers);
    response.end(body);
  };
}

// caller is somebody who waits, for some seconds; leave makes him go.
export function caller(seconds = 30) {
  const leaving = new AbortController();
  const end = Date.now() + seconds * 1000;
  return { signal: leaving.signal, remaining: () => (end - Date.now()) / 1000, leave: () => leaving.abort() };
}
