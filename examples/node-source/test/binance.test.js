import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Source } from '../app/binance.js';
import { Settings } from '../app/settings.js';
import { answer, caller, service } from './service.js';

process.env.ISLANDS_LOG_LEVEL = 'ERROR';

const declared = [
  { name: 'url', type: 'string', default: '' }, { name: 'timeout', type: 'duration', default: '30s' }, { name: 'calls_per_minute', type: 'int', default: '100000' },
];
const pair = (base, quoted, status = 'TRADING') => ({ symbol: base + quoted, status, baseAsset: base, quoteAsset: quoted });
const pairs = JSON.stringify({ symbols: [pair('BTC', 'USDT'), pair('ETH', 'USDT'), pair('BTC', 'EUR'), pair('OLD', 'USDT', 'BREAK')] });

// source is an island whose Binance answers with handles by path; what is not among them is the list of pairs.
async function source(t, handles) {
  const at = await service(t, (request, response) => {
    const path = new URL(request.url, 'http://x').pathname;
    (handles[path] ?? answer(200, pairs))(request, response);
  });
  const s = new Source(new Settings(declared, JSON.stringify({ url: `http://${at}` })), 'trial');
  t.after(() => s.close());
  return s;
}

const quotes = (symbols, currency = 'usd') => ({ assets: symbols.map((symbol) => ({ id: `${symbol}-id`, symbol, name: symbol })), vs_currency: currency, retries: 0 });
const candles = { asset: { id: 'bitcoin', symbol: 'btc' }, vs_currency: 'usd', interval: '1d', limit: 3, retries: 0 };

test('settings that cannot be meant are refused by name', () => {
  for (const [setting, values] of Object.entries({
    url: ['', 'ftp://example.com', 'http://', 'http:///x', 'nonsense', 'http://[::'], timeout: ['0s', '49ms', '1h'], calls_per_minute: [0, -1, 3, 1000001],
  })) {
    for (const value of values) {
      const given = JSON.stringify({ url: 'http://127.0.0.1:1', [setting]: value });
      assert.throws(() => new Source(new Settings(declared, given), 'trial'), { kind: 'KIND_INVALID_ARGUMENT', setting }, given);
    }
  }
});

test('quotes are those of the pairs that are traded', async (t) => {
  let asked;
  const s = await source(t, {
    '/api/v3/ticker/24hr': (request, response) => {
      asked = new URL(request.url, 'http://x').searchParams.get('symbols');
      answer(200, JSON.stringify([
        { symbol: 'ETHUSDT', lastPrice: '0', count: 0 },
        { symbol: 'BTCUSDT', lastPrice: '100.5', priceChangePercent: '-1.5', highPrice: 'NaN', lowPrice: '0x10', quoteVolume: null, closeTime: 1700000000000, count: 3 },
      ]))(request, response);
    },
  });
  const found = await s.quotes(quotes(['btc', 'eth', 'old', 'none', 'constructor']), caller());
  assert.equal(asked, '["BTCUSDT","ETHUSDT"]');
  assert.deepEqual(found.quotes, [{
    id: 'btc-id', symbol: 'btc', name: 'btc', vs_currency: 'usd', source: 'trial', note: 'figures are in USDT, not in US dollars',
    price: 100.5, change_24h: -1.5, high_24h: undefined, low_24h: undefined, volume_24h: undefined, as_of: new Date(1700000000000),
  }]);
  assert.deepEqual(await s.quotes(quotes(['none']), caller()), { quotes: [] });
  await assert.rejects(s.quotes(quotes(['btc'], 'xau'), caller()), { kind: 'KIND_UNSUPPORTED' });
  await assert.rejects(s.quotes(quotes(Array(251).fill('btc')), caller()), { kind: 'KIND_INVALID_ARGUMENT' });
});

test('what is not traded has no price, whatever the answer says', async (t) => {
  for (const symbol of ['', '"symbol":null,', '"symbol":7,', '"symbol":["BTCUSDT"],']) {
    const rows = `[{"symbol":"BTCUSDT","lastPrice":"1","count":1},{${symbol}"lastPrice":"666","count":1}]`;
    const s = await source(t, { '/api/v3/ticker/24hr': answer(200, rows) });
    await assert.rejects(s.quotes(quotes(['btc', 'nosuchcoin']), caller()), { kind: 'KIND_BAD_UPSTREAM', message: /names no symbol/ }, rows);
  }
  const s = await source(t, { '/api/v3/ticker/24hr': answer(200, '[{"symbol":"BTCUSDT","lastPrice":"1","count":1},{"symbol":"undefined","lastPrice":"666"}]') });
  const found = await s.quotes(quotes(['btc', 'nosuchcoin']), caller());
  assert.deepEqual(found.quotes.map((quote) => [quote.symbol, quote.price]), [['btc', 1]]);
});

test('candles are oldest first and each once', async (t) => {
  const rows = [[2000, '2', '2', '2', '2', '2', 2999], [1000, '1', '1', '1', '1', '1', 1999], [2000, '3', '3', '3', '3', '3', 2999], [3000, '0', '0', '0', '0', '0', 3999]];
  const s = await source(t, { '/api/v3/klines': answer(200, JSON.stringify(rows)) });
  const { series } = await s.candles(candles, caller());
  assert.deepEqual(series.candles.map((c) => [Number(c.open_time), c.close, c.closed]), [[1000, 1, true], [2000, 3, true]]);
  await assert.rejects(s.candles({ ...candles, interval: '3d' }, caller()), { kind: 'KIND_UNSUPPORTED' });
  await assert.rejects(s.candles({ ...candles, limit: 1001 }, caller()), { kind: 'KIND_INVALID_ARGUMENT' });
  await assert.rejects(s.candles({ ...candles, asset: null }, caller()), { kind: 'KIND_INVALID_ARGUMENT' });
  await assert.rejects(s.candles({ ...candles, asset: { symbol: 'none' } }, caller()), { kind: 'KIND_NOT_FOUND' });
});

test('answers that cannot be are the fault of Binance', async (t) => {
  for (const [what, handle, kind, retryAfter] of [
    ['a ban', answer(418, '{"code":-1003,"msg":"banned"}'), 'RATE_LIMITED', 120],
    ['a restricted location', answer(451), 'PERMISSION_DENIED', 60],
    ['too many', answer(400, '{"code":-1003,"msg":"too many"}'), 'RATE_LIMITED', 60],
    ['no such symbol', answer(400, '{"code":-1121,"msg":"Invalid symbol."}'), 'NOT_FOUND'],
    ['an object', answer(200, '{}'), 'BAD_UPSTREAM'],
    ['null', answer(200, 'null'), 'BAD_UPSTREAM'],
    ['a short candle', answer(200, '[[1,2,3]]'), 'BAD_UPSTREAM'],
    ['a negative figure', answer(200, '[[1,"1","1","1","-1","1",2]]'), 'BAD_UPSTREAM'],
    ['a figure that is none', answer(200, '[[1,"1","1","1","NaN","1",2]]'), 'BAD_UPSTREAM'],
    ['a stamp out of range', answer(200, '[[1e30,"1","1","1","1","1",2]]'), 'BAD_UPSTREAM'],
    ['no candle', answer(200, '[]'), 'NOT_FOUND'],
    ['no candle with a price', answer(200, '[[1,"0","0","0","0","0",2]]'), 'NOT_FOUND'],
  ]) {
    const s = await source(t, { '/api/v3/klines': handle });
    await assert.rejects(s.candles(candles, caller()), { kind: `KIND_${kind}`, retryAfter }, what);
  }
  for (const list of ['null', '{}', '{"symbols":[null]}', '{"symbols":[]}']) {
    const s = await source(t, { '/api/v3/exchangeInfo': answer(200, list) });
    await assert.rejects(s.candles(candles, caller()), { kind: 'KIND_BAD_UPSTREAM' }, list);
  }
});

test('the list of pairs is loaded once, for those who wait', async (t) => {
  const held = [];
  let asked;
  const arrived = () => new Promise((resolve) => {
    asked = resolve;
  });
  const s = await source(t, {
    '/api/v3/exchangeInfo': (request, response) => {
      held.push({ response, cut: new Promise((resolve) => response.on('close', resolve)) });
      asked();
    },
    '/api/v3/ticker/24hr': answer(200, '[{"symbol":"BTCUSDT","lastPrice":"1"}]'),
  });
  // The first two leave, and with the last of them what is under way for them.
  let coming = arrived();
  const leaving = [caller(), caller()];
  const left = leaving.map((someone) => assert.rejects(s.quotes(quotes(['btc']), someone), { kind: 'KIND_CANCELED' }));
  await coming;
  leaving.forEach((someone) => someone.leave());
  await Promise.all(left);
  await held[0].cut;
  // Of those who come now one leaves, which is nothing to the others.
  coming = arrived();
  const impatient = caller();
  const gone = assert.rejects(s.quotes(quotes(['btc']), impatient), { kind: 'KIND_CANCELED' });
  const patient = Array.from({ length: 100 }, () => s.quotes(quotes(['btc']), caller()));
  await coming;
  impatient.leave();
  await gone;
  held[1].response.end(pairs);
  for (const found of await Promise.all(patient)) {
    assert.equal(found.quotes[0].price, 1);
  }
  assert.equal(held.length, 2);
});
