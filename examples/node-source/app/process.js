// What a host expects of the process of an island, before any gRPC: its log, its output, its signals and its lifeline.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const cookie = ['SERVICE_ISLANDS_ISLAND', 'f3a7c1b2-9d64-4c1e-8a55-2f6f0c7f1d90'];
const levels = { DEBUG: 10, INFO: 20, WARN: 30, ERROR: 40 };
const pieceSize = 64 << 10; // Bytes of output that travel, and wait, in one piece.
const mostWaiting = 16 * pieceSize; // Bytes of output that wait for a host which does not read.

// startedByHost says whether a host started this process.
export function startedByHost() {
  return process.env[cookie[0]] === cookie[1];
}

// log writes a record as the host reads it: one JSON object in one line on standard error.
export function log(level, message, fields = {}) {
  if (levels[level] < (levels[process.env.ISLANDS_LOG_LEVEL] ?? levels.INFO)) {
    return;
  }
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, msg: message, ...fields })}\n`);
}

// Output carries what is printed to standard output to the host by a call of gRPC, because the host reads the pipe itself
// for nothing but the handshake. What is printed before that call is there waits, up to a bound. What a child process prints
// there is lost; hand its output on. Standard error is left alone: the host reads that itself.
//
// What waits is copied into a few large pieces. To keep what was printed as it came would cost a hundred bytes and more for
// each, however little it is.
class Output {
  #waiting = []; // Pieces of pieceSize, all full but the last.
  #filled = 0; // Bytes in the last of them.
  #size = 0; // Bytes in all of them.
  #lost = 0;
  #call;

  // take makes console.log and whatever else writes to process.stdout write here.
  take() {
    process.stdout.write = (chunk, encoding, done) => {
      this.#add(typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(chunk));
      const told = typeof encoding === 'function' ? encoding : done;
      if (told) {
        process.nextTick(told);
      }
      return true;
    };
  }

  #add(bytes) {
    if (this.#size + bytes.length > mostWaiting) {
      this.#lost += bytes.length;
      this.#report();
      return;
    }
    let at = 0;
    for (; at < bytes.length && this.#size === 0 && this.#open(); at += pieceSize) {
      this.#write(bytes.subarray(at, at + pieceSize));
    }
    while (at < bytes.length) {
      if (this.#waiting.length === 0 || this.#filled === pieceSize) {
        this.#waiting.push(Buffer.allocUnsafe(pieceSize));
        this.#filled = 0;
      }
      const copied = bytes.copy(this.#waiting.at(-1), this.#filled, at);
      this.#filled += copied;
      this.#size += copied;
      at += copied;
    }
  }

  // carry sends everything through a call, until that ends; a later one replaces it.
  carry(call) {
    this.#call?.end();
    this.#call = call;
    const left = () => {
      if (this.#call === call) {
        this.#call = undefined;
      }
    };
    call.on('cancelled', left).on('error', left).on('drain', () => this.#send());
    this.#send();
  }

  #open() {
    return this.#call !== undefined && !this.#call.writableNeedDrain;
  }

  #write(data) {
    this.#call.write({ channel: 'STDOUT', data });
  }

  #send() {
    while (this.#size > 0 && this.#open()) {
      const piece = this.#waiting.shift();
      const data = this.#waiting.length > 0 ? piece : piece.subarray(0, this.#filled);
      this.#size -= data.length;
      this.#write(data);
    }
    this.#report();
  }

  #report() {
    if (this.#lost > 0 && this.#size === 0) {
      const lost = this.#lost;
      this.#lost = 0;
      log('WARN', 'printed more than the host reads', { lost_bytes: lost });
    }
  }

  // end sends what waits and ends the call.
  end() {
    this.#send();
    this.#call?.end();
    this.#call = undefined;
  }
}

export const output = new Output();

// prepare does to the process what the host expects of an island's.
export function prepare() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {}); // The host decides when an island ends, and drains it first.
  }
  process.stderr.on('error', () => {}); // Nobody reads any more.
  const fd = process.env.ISLANDS_LIFELINE_FD ?? '';
  if (/^\d+$/.test(fd)) {
    const lifeline = new net.Socket({ fd: Number(fd), readable: true, writable: false });
    // Nothing is ever written: when it ends, the host is gone, however it ended.
    lifeline.on('error', () => {}).on('close', orphaned).resume();
    lifeline.unref();
  }
}

// orphaned removes what was made for this process alone, and ends it.
function orphaned() {
  const folder = process.env.PLUGIN_UNIX_SOCKET_DIR ?? '';
  const temporary = process.env.TMPDIR ?? '';
  if (folder !== '') {
    const parent = path.dirname(folder);
    empty(folder);
    if (temporary === path.join(parent, 'tmp') || temporary === '/proc/self/fd/5') {
      empty(temporary);
    }
    for (const left of [folder, temporary, parent]) {
      attempt(() => fs.rmdirSync(left)); // What may not be removed is the janitor's of the next host.
    }
  }
  process.exit(0);
}

function empty(folder) {
  attempt(() => {
    for (const entry of fs.readdirSync(folder)) {
      attempt(() => fs.rmSync(path.join(folder, entry), { recursive: true, force: true }));
    }
  });
}

function attempt(what) {
  try {
    what();
  } catch {
    // It is as gone as it will be.
  }
}
