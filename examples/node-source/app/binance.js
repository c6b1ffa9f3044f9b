// Quotes and candles of Binance Spot, from its public market data, which wants no key.

import { abandoned, Failure, Kind } from './failure.js';
import { Client } from './upstream.js';

const tether = 'USDT';
const inTether = 'figures are in USDT, not in US dollars';
const listAge = 6 * 3600; // How old the list of pairs may grow, in seconds.
const listPause = 60; // How old it must be to be asked for again because a pair is not what it says.
const maxAssets = 250;
const maxCandles = 1000;
const maxMillis = 7258118400000; // The year 2200: a stamp beyond it is nonsense.
const intervals = ['1m', '5m', '15m', '30m', '1h', '4h', '12h', '1d', '1w'];

const kinds = new Map([
  [-1003, Kind.RATE_LIMITED],
  [-1100, Kind.INVALID_ARGUMENT],
  [-1101, Kind.INVALID_ARGUMENT],
  [-1102, Kind.INVALID_ARGUMENT],
  [-1120, Kind.INVALID_ARGUMENT],
  [-1121, Kind.NOT_FOUND],
]);

// classify says what a refusal means in Binance's own words, undefined where the status says it all.
function classify(status, said) {
  if (status === 418) {
    return new Failure(Kind.RATE_LIMITED, 'banned for having gone on after a 429', { retryAfter: 120 });
  }
  if (status === 451) {
    return new Failure(Kind.PERMISSION_DENIED, 'restricted location', { retryAfter: 60 });
  }
  const kind = kinds.get(said?.code);
  if (kind === undefined) {
    return undefined;
  }
  const retryAfter = kind === Kind.RATE_LIMITED ? 60 : undefined;
  return new Failure(kind, `${said.code} ${String(said.msg ?? '').slice(0, 200)}`, { retryAfter });
}

// figure reads a number, undefined for what is none: what is not known stays unknown.
function figure(value) {
  if (typeof value !== 'number' && !(typeof value === 'string' && /^[-+.\de]+$/i.test(value))) {
    return undefined; // Number would take 0x10 and a blank.
  }
  const f = Number(value);
  return Number.isFinite(f) ? f : undefined;
}

// millis reads a stamp in milliseconds, undefined for what is none.
function millis(value) {
  const f = figure(value);
  return f > 0 && f < maxMillis ? Math.trunc(f) : undefined;
}

function bad(path, what) {
  return new Failure(Kind.BAD_UPSTREAM, `GET ${path}: ${what}`);
}

// objects returns a list of objects, which is what an answer should be.
function objects(path, reply) {
  if (!Array.isArray(reply) || !reply.every((row) => row !== null && typeof row === 'object')) {
    throw bad(path, 'the answer is not a list of objects');
  }
  return reply;
}

// Source answers the roles of the island.
export class Source {
  #name;
  #client;
  #pairs; // By what is traded, then by what it is traded against.
  #listed = -Infinity;
  #failed = -Infinity;
  #loading;

  constructor(settings, name) {
    const url = settings.get('url');
    settings.require('url', /^https?:\/\/[^/]/.test(url) && URL.canParse(url), 'an address that begins with http:// or https://');
    settings.require('timeout', settings.get('timeout') >= 0.05 && settings.get('timeout') <= 60, 'a duration from "50ms" to "1m"');
    const calls = settings.get('calls_per_minute');
    settings.require('calls_per_minute', calls >= 4 && calls <= 1_000_000, 'a number from 4 to 1000000');
    this.#name = name;
    this.#client = new Client(url, settings.get('timeout'), calls, classify);
  }

  close() {
    this.#client.close();
  }

  health() {
    const part = this.#client.health();
    return { status: part.status, reason: part.reason, parts: [part] };
  }

  metrics() {
    return this.#client.metrics();
  }

  async quotes({ assets, vs_currency: currency, retries }, call) {
    if (assets.length > maxAssets) {
      throw new Failure(Kind.INVALID_ARGUMENT, `${assets.length} assets at once; at most ${maxAssets}`);
    }
    if (assets.length === 0) {
      return { quotes: [] };
    }
    try {
      return await this.#tickers(await this.#list(listAge, call, retries), assets, currency, call, retries);
    } catch (e) {
      if (e.kind !== Kind.NOT_FOUND) {
        throw e;
      }
    }
    // A pair has gone since the list was made, which spoils the call for all others.
    return this.#tickers(await this.#list(listPause, call, retries), assets, currency, call, retries);
  }

  async #tickers(pairs, assets, currency, call, retries) {
    const { against, note } = quoteAsset(pairs, currency);
    const symbolOf = (asset) => against.get(asset.symbol.toUpperCase());
    const wanted = [...new Set(assets.map(symbolOf))].filter((symbol) => symbol !== undefined).sort();
    if (wanted.length === 0) {
      return { quotes: [] };
    }
    const path = '/api/v3/ticker/24hr';
    const reply = await this.#client.get(path, { symbols: JSON.stringify(wanted) }, call, retries);
    const rows = new Map(objects(path, reply).map((row) => [row.symbol, row]));
    if (![...rows.keys()].every((symbol) => typeof symbol === 'string')) {
      throw bad(path, 'a row names no symbol');
    }
    const quotes = [];
    for (const asset of assets) {
      const symbol = symbolOf(asset);
      const row = symbol === undefined ? undefined : rows.get(symbol); // What is not traded has no row, whatever the answer says.
      const price = figure(row?.lastPrice);
      if (!(price > 0) || row.count === 0) {
        continue; // Nothing was traded: the figures are zeros that mean nothing.
      }
      quotes.push({
        id: asset.id, symbol: asset.symbol, name: asset.name, vs_currency: currency, source: this.#name, note,
        price, change_24h: figure(row.priceChangePercent), high_24h: figure(row.highPrice), low_24h: figure(row.lowPrice),
        volume_24h: figure(row.quoteVolume), as_of: new Date(millis(row.closeTime) ?? Date.now()),
      });
    }
    return { quotes };
  }

  async candles({ asset, vs_currency: currency, interval, limit, retries }, call) {
    if (!intervals.includes(interval)) {
      throw new Failure(Kind.UNSUPPORTED, `no candles of ${JSON.stringify(interval)}; there are ${intervals.join(', ')}`);
    }
    if (limit < 1 || limit > maxCandles) {
      throw new Failure(Kind.INVALID_ARGUMENT, `a limit of ${limit} candles; it can be 1 to ${maxCandles}`);
    }
    if (!asset) {
      throw new Failure(Kind.INVALID_ARGUMENT, 'candles of no asset');
    }
    const { against, quoted, note } = quoteAsset(await this.#list(listAge, call, retries), currency);
    const symbol = against.get(asset.symbol.toUpperCase());
    if (symbol === undefined) {
      throw new Failure(Kind.NOT_FOUND, `${JSON.stringify(asset.symbol)} is not traded against ${quoted}`);
    }
    const path = '/api/v3/klines';
    const rows = await this.#client.get(path, { symbol, interval, limit }, call, retries);
    if (!Array.isArray(rows)) {
      throw bad(path, 'the answer is not a list');
    }
    const now = Date.now();
    const found = new Map(); // By when they open: oldest first and each once, in whatever order they came.
    for (const row of rows) {
      const candle = candleOf(path, row, now);
      if (candle !== undefined) {
        found.set(Number(candle.open_time), candle);
      }
    }
    if (found.size === 0) {
      throw new Failure(Kind.NOT_FOUND, `${symbol} is not traded`);
    }
    const candles = [...found].sort(([a], [b]) => a - b).slice(-limit).map(([, candle]) => candle);
    return {
      series: {
        id: asset.id, symbol: asset.symbol, interval, vs_currency: currency, source: this.#name, as_of: new Date(now), note, candles,
      },
    };
  }

  // list returns what is traded against what, no older than age seconds if Binance answers. Whoever asks while it is being loaded
  // waits for that; it is given up when the last of them has gone.
  async #list(age, call, retries) {
    const now = performance.now() / 1000;
    if (this.#pairs !== undefined && (now - this.#listed < age || now - this.#failed < listPause)) {
      return this.#pairs;
    }
    this.#loading ??= this.#begin(retries);
    const loading = this.#loading;
    loading.waiting += 1;
    let leave;
    try {
      return await Promise.race([loading.pairs, new Promise((_, reject) => {
        leave = () => reject(abandoned('waiting for the list of pairs', call));
        call.signal.addEventListener('abort', leave);
        if (call.signal.aborted) {
          leave();
        }
      })]);
    } finally {
      call.signal.removeEventListener('abort', leave);
      loading.waiting -= 1;
      if (loading.waiting === 0) {
        loading.stop();
      }
    }
  }

  #begin(retries) {
    const given = new AbortController();
    const loading = { waiting: 0 };
    const over = () => {
      if (this.#loading === loading) {
        this.#loading = undefined;
      }
    };
    loading.stop = () => {
      over(); // Who comes now begins anew.
      given.abort();
    };
    loading.pairs = this.#load({ signal: given.signal, remaining: () => 3600 }, retries).then((pairs) => {
      this.#pairs = pairs;
      this.#listed = performance.now() / 1000;
      this.#failed = -Infinity;
      return pairs;
    }, (failure) => {
      if (!given.signal.aborted) {
        this.#failed = performance.now() / 1000;
      }
      if (this.#pairs === undefined) {
        throw failure;
      }
      return this.#pairs;
    }).finally(over);
    loading.pairs.catch(() => {}); // Nobody may be waiting any more.
    return loading;
  }

  async #load(call, retries) {
    const path = '/api/v3/exchangeInfo';
    const reply = await this.#client.get(path, { showPermissionSets: 'false', symbolStatus: 'TRADING' }, call, retries);
    const pairs = new Map();
    for (const { baseAsset: base, quoteAsset: quoted, symbol, status } of objects(path, reply?.symbols)) {
      if (status === 'TRADING' && [base, quoted, symbol].every((text) => typeof text === 'string' && text !== '')) {
        if (!pairs.has(quoted)) {
          pairs.set(quoted, new Map());
        }
        pairs.get(quoted).set(base, symbol);
      }
    }
    if (pairs.size === 0) {
      throw bad(path, 'no pair is traded');
    }
    return pairs;
  }
}

// quoteAsset returns what Binance trades against for a currency, the pairs against that, and the note that this asks for.
function quoteAsset(pairs, currency) {
  const [quoted, note] = currency === 'usd' ? [tether, inTether] : [currency.toUpperCase(), ''];
  const against = pairs.get(quoted);
  if (against === undefined) {
    throw new Failure(Kind.UNSUPPORTED, `nothing is traded against ${JSON.stringify(currency)}`);
  }
  return { against, quoted, note };
}

// candleOf makes a candle of [opens, open, high, low, close, volume, closes, …], undefined where there was no price.
function candleOf(path, row, now) {
  if (!Array.isArray(row) || row.length < 7) {
    throw bad(path, 'a candle is not a list of seven figures');
  }
  const [opens, closes] = [millis(row[0]), millis(row[6])];
  const figures = row.slice(1, 6).map(figure);
  if (opens === undefined || closes === undefined || figures.some((f) => f === undefined || f < 0)) {
    throw bad(path, `a candle holds what is no figure: ${JSON.stringify(row.slice(0, 7)).slice(0, 200)}`);
  }
  const [open, high, low, close, volume] = figures;
  return close > 0 ? { open_time: new Date(opens), open, high, low, close, volume, closed: closes < now } : undefined;
}
