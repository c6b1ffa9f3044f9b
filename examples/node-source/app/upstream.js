// A polite HTTP client: it keeps to a budget, obeys Retry-After, bounds every call in time and size, tries again only when the
// host says so, and answers each failure with a kind.

import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import { HttpProxyAgent } from 'http-proxy-agent';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { getProxyForUrl } from 'proxy-from-env';

import { abandoned, Failure, Kind, nameOf } from './failure.js';
import { log } from './process.js';

const maxBody = 8 << 20;
const firstBody = 64 << 10;
const minute = 60;
const mostSilence = 3600;
const mostSockets = 8; // Each may hold a body: 64 MiB at most, whatever the service sends.
const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

const now = () => performance.now() / 1000; // Seconds of a clock that nobody sets.

export class Client {
  #base;
  #timeout;
  #classify;
  #agent;
  #ca;
  #burst;
  #refill;
  #tokens;
  #at = now();
  #silentUntil = 0;
  #silence = '';
  #failures = 0;
  #reason = '';
  #last429 = 0;
  #calls = new Map();
  #refused = new Map([['limiter', 0], ['silence', 0]]);
  #retries = 0;
  #limited = 0;
  #took = buckets.map(() => 0);
  #sum = 0;
  #count = 0;

  // Times are in seconds. classify(status, said) returns what a refusal means in the service's own words, undefined where the
  // status says it all; said is the JSON of the answer, or undefined.
  constructor(url, timeout, perMinute, classify) {
    this.#base = url.replace(/\/+$/, '');
    this.#timeout = timeout;
    this.#classify = classify;
    const secure = url.startsWith('https:');
    this.#ca = secure ? authorities() : undefined;
    const proxy = proxyFor(url);
    const options = { keepAlive: true, maxSockets: mostSockets };
    if (proxy === '') {
      this.#agent = new (secure ? https : http).Agent(options);
    } else {
      this.#agent = new (secure ? HttpsProxyAgent : HttpProxyAgent)(proxy, options);
    }
    // A bucket that starts full and refills with what that leaves of the minute: no minute ever holds more.
    this.#burst = Math.max(1, perMinute / 4);
    this.#refill = (perMinute - this.#burst) / minute;
    this.#tokens = this.#burst;
  }

  // close ends the connections that are kept for the next call.
  close() {
    this.#agent.destroy();
  }

  // get returns the JSON that the service answers to a GET. retries is how often it may be asked again within the call's deadline.
  async get(path, query, call, retries) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#attempt(path, query, call, attempt);
      } catch (failure) {
        const pause = 0.2 * 2 ** attempt * (0.5 + Math.random());
        const again = (failure.kind === Kind.UNAVAILABLE || failure.kind === Kind.BAD_UPSTREAM) && attempt < retries;
        if (!again || call.signal.aborted || call.remaining() < pause + 0.1) {
          throw failure;
        }
        await sleep(pause, call.signal);
      }
    }
  }

  async #attempt(path, query, call, attempt) {
    const left = call.remaining();
    if (left <= 0 || call.signal.aborted) {
      throw abandoned(`GET ${path}`, call); // Nothing is sent, so nothing is counted.
    }
    this.#admit(path);
    const began = now();
    try {
      const answer = await this.#ask(path, query, call, left);
      this.#note(now() - began, attempt);
      return answer;
    } catch (failure) {
      this.#note(now() - began, attempt, failure);
      throw failure;
    }
  }

  #admit(path) {
    const at = now();
    if (at < this.#silentUntil) {
      this.#refused.set('silence', this.#refused.get('silence') + 1);
      throw new Failure(Kind.RATE_LIMITED, `GET ${path}: silent for a while: ${this.#silence}`, { retryAfter: this.#silentUntil - at });
    }
    this.#tokens = Math.min(this.#burst, this.#tokens + (at - this.#at) * this.#refill);
    this.#at = at;
    if (this.#tokens < 1) {
      this.#refused.set('limiter', this.#refused.get('limiter') + 1);
      const retryAfter = (1 - this.#tokens) / this.#refill;
      throw new Failure(Kind.RATE_LIMITED, `GET ${path}: the budget of calls is used up`, { retryAfter });
    }
    this.#tokens -= 1;
  }

  async #ask(path, query, call, left) {
    const bound = Math.min(this.#timeout, left);
    const url = `${this.#base}${path}?${new URLSearchParams(query)}`;
    const end = new AbortController();
    const stop = () => end.abort();
    const timer = setTimeout(stop, bound * 1000);
    call.signal.addEventListener('abort', stop);
    let reply;
    try {
      reply = await this.#exchange(url, end.signal);
    } catch (e) {
      if (call.signal.aborted) { // What is seen then is his doing, and not the service's.
        throw abandoned(`GET ${path}`, call);
      }
      if (end.signal.aborted) {
        throw left < this.#timeout
          ? new Failure(Kind.DEADLINE_EXCEEDED, `GET ${path}: no answer within the call's deadline`)
          : new Failure(Kind.UNAVAILABLE, `GET ${path}: no answer in time`);
      }
      // Of an address that cannot be reached only the kind of trouble is said: keys may live in addresses.
      throw new Failure(Kind.UNAVAILABLE, `GET ${path}: ${e.code ?? e.name}`);
    } finally {
      clearTimeout(timer);
      call.signal.removeEventListener('abort', stop);
    }
    if (reply.status < 200 || reply.status > 299) {
      throw this.#refusal(path, reply);
    }
    if (reply.body === undefined) {
      throw new Failure(Kind.BAD_UPSTREAM, `GET ${path}: more than ${maxBody >> 20} MiB`);
    }
    const said = parsed(reply.body);
    if (said === undefined) {
      throw new Failure(Kind.BAD_UPSTREAM, `GET ${path}: the answer is not JSON`);
    }
    return said;
  }

  // exchange sends one request and reads the whole answer. Redirects are not followed: another address is for the operator to
  // write.
  async #exchange(url, signal) {
    for (;;) {
      const request = (url.startsWith('https:') ? https : http).get(url, {
        agent: this.#agent, signal, ca: this.#ca,
        headers: { Accept: 'application/json', 'User-Agent': 'service-islands-node-source/1.0' },
      });
      let answered = false;
      try {
        return await new Promise((resolve, reject) => {
          request.on('error', reject).on('response', (response) => {
            answered = true;
            read(response).then((body) => resolve({ status: response.statusCode, headers: response.headers, body }), reject);
          });
        });
      } catch (e) {
        if (!request.reusedSocket || answered || signal.aborted) {
          throw e;
        } // The service has closed a connection that was kept, as it may: that says nothing.
      }
    }
  }

  // refusal is what a status that is no success means.
  #refusal(path, { status, headers, body }) {
    let failure = this.#classify(status, parsed(body ?? ''));
    if (failure === undefined) {
      let kind = Kind.BAD_UPSTREAM;
      if (status === 429) {
        kind = Kind.RATE_LIMITED;
      } else if (status === 401 || status === 407) {
        kind = Kind.UNAUTHENTICATED;
      } else if (status === 403) {
        kind = Kind.PERMISSION_DENIED;
      } else if (status >= 500) {
        kind = Kind.UNAVAILABLE;
      }
      failure = new Failure(kind, `status ${status}`, { retryAfter: status === 429 ? minute : undefined });
    }
    return new Failure(failure.kind, `GET ${path}: ${failure.message}`, { retryAfter: retryAfter(headers['retry-after']) ?? failure.retryAfter });
  }

  #note(took, attempt, failure) {
    const outcome = failure === undefined ? 'ok' : nameOf(failure.kind);
    this.#calls.set(outcome, (this.#calls.get(outcome) ?? 0) + 1);
    this.#retries += attempt > 0 ? 1 : 0;
    this.#count += 1;
    this.#sum += took;
    buckets.forEach((bound, i) => {
      this.#took[i] += took <= bound ? 1 : 0;
    });
    if (failure?.kind === Kind.CANCELED || failure?.kind === Kind.DEADLINE_EXCEEDED) {
      return; // The caller has gone or was in a hurry, which says nothing about the service.
    }
    if (failure === undefined || [Kind.NOT_FOUND, Kind.INVALID_ARGUMENT, Kind.UNSUPPORTED].includes(failure.kind)) {
      if (this.#failures > 0) {
        log('INFO', 'the service answers again');
      }
      this.#failures = 0;
      this.#reason = '';
      if (failure === undefined) {
        this.#silentUntil = 0;
      }
      return;
    }
    this.#failures += 1;
    this.#reason = failure.message;
    if (failure.kind === Kind.RATE_LIMITED) {
      this.#limited += 1;
      this.#last429 = Date.now();
    }
    if ([Kind.RATE_LIMITED, Kind.UNAVAILABLE, Kind.PERMISSION_DENIED].includes(failure.kind) && failure.retryAfter) {
      this.#silentUntil = Math.max(this.#silentUntil, now() + Math.min(failure.retryAfter, mostSilence));
      this.#silence = failure.message;
    }
    if (this.#failures === 1) {
      log('WARN', 'the service fails', { error: failure.message });
    }
  }

  // health is how the service is: degraded while it fails. To restart the island would mend nothing, so it is never failed.
  health() {
    const left = Math.max(0, this.#silentUntil - now());
    const well = this.#failures === 0 && left === 0;
    return {
      name: 'upstream',
      status: well ? 'STATUS_OK' : 'STATUS_DEGRADED',
      reason: well ? '' : this.#reason || this.#silence,
      details: {
        consecutive_failures: this.#failures,
        last_429: this.#last429 === 0 ? '' : new Date(this.#last429).toISOString(),
        last_error: this.#reason,
        retry_after_seconds: Math.round(left * 1000) / 1000,
      },
    };
  }

  // metrics is what the client counts.
  metrics() {
    const labelled = (label, counts) => [...counts].sort().map(([name, value]) => ({ labels: { [label]: name }, value }));
    return [
      family('upstream_calls_total', 'counter', 'Attempts sent, by outcome: ok or the kind of error.', labelled('outcome', this.#calls)),
      family('upstream_retries_total', 'counter', 'Attempts that followed a failed one.', [{ value: this.#retries }]),
      family('upstream_rate_limited_total', 'counter', 'Replies that asked for fewer calls.', [{ value: this.#limited }]),
      family('upstream_refused_total', 'counter', 'Calls not sent, by what forbade them.', labelled('by', this.#refused)),
      family('upstream_call_duration_seconds', 'histogram', 'How long attempts took.', [{
        histogram: { count: this.#count, sum: this.#sum, buckets: buckets.map((bound, i) => ({ upper_bound: bound, count: this.#took[i] })) },
      }], 'seconds'),
      family('upstream_silence_seconds', 'gauge', 'How long nothing will be sent.', [{ value: Math.max(0, this.#silentUntil - now()) }], 'seconds'),
    ];
  }
}

// proxyFor returns the proxy of the environment for an address, empty where there is none. Its address is not repeated in a
// refusal: passwords live in such addresses.
function proxyFor(url) {
  const proxy = getProxyForUrl(url);
  if (proxy === '' || (/^https?:\/\//i.test(proxy) && URL.canParse(proxy))) {
    return proxy;
  }
  const asked = [`${new URL(url).protocol.replace(':', '')}_proxy`, 'all_proxy'].flatMap((name) => [name, name.toUpperCase()]);
  const name = asked.find((variable) => process.env[variable]);
  throw new Failure(Kind.INVALID_ARGUMENT, `${name} is no address of a proxy that begins with http:// or https:// (NO_PROXY lists what needs none)`);
}

// authorities are those of SSL_CERT_FILE, which most builds of Node do not look at; undefined are Node's own.
function authorities() {
  const file = process.env.SSL_CERT_FILE;
  if (!file) {
    return undefined;
  }
  try {
    return fs.readFileSync(file);
  } catch (e) {
    throw new Failure(Kind.INVALID_ARGUMENT, `SSL_CERT_FILE is ${file}, which cannot be read: ${e.code}`);
  }
}

function family(name, type, help, samples, unit = '') {
  return { name, type, help, unit, samples };
}

// read returns the body, undefined when it is too large. It is copied together as it comes: to keep the pieces would cost more
// than the body, where a service sends small ones.
async function read(response) {
  let body = Buffer.allocUnsafe(firstBody);
  let size = 0;
  for await (const piece of response) {
    if (size + piece.length > maxBody) {
      return undefined; // Leaving the loop cuts the connection.
    }
    if (size + piece.length > body.length) {
      const larger = Buffer.allocUnsafe(Math.min(maxBody, Math.max(2 * body.length, size + piece.length)));
      body.copy(larger, 0, 0, size);
      body = larger;
    }
    size += piece.copy(body, size);
  }
  return body.toString('utf8', 0, size);
}

// parsed reads JSON; undefined is none.
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// retryAfter reads the header, which is a number of seconds or a date; undefined is neither.
export function retryAfter(text = '') {
  if (/^\d{1,9}$/.test(text)) {
    return Number(text);
  }
  const at = /[a-z]/i.test(text) ? Date.parse(text) : NaN; // Date.parse takes many a number for a year.
  return Number.isNaN(at) ? undefined : Math.max(0, (at - Date.now()) / 1000);
}

// sleep waits, and not for somebody who goes meanwhile.
function sleep(seconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    signal.addEventListener('abort', done);
  });
}
