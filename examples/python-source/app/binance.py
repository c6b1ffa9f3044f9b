"""Quotes and candles of Binance Spot, from its public market data, which wants no key."""

import json
import math
import threading
import time
import urllib.parse

from contract import Failure
from islands.v1 import islands_pb2 as pb
from upstream import Client, abandoned, remaining

TETHER = "USDT"
IN_TETHER = "figures are in USDT, not in US dollars"
LIST_AGE = 6 * 3600.0  # How old the list of pairs may grow.
LIST_PAUSE = 60.0  # How old it must be to be asked for again because a pair is not what it says.
MAX_ASSETS = 250
MAX_CANDLES = 1000
MAX_MILLIS = 7258118400000  # The year 2200: a stamp beyond it is nonsense.
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "1w")

KINDS = {
    -1003: pb.KIND_RATE_LIMITED,
    -1100: pb.KIND_INVALID_ARGUMENT,
    -1101: pb.KIND_INVALID_ARGUMENT,
    -1102: pb.KIND_INVALID_ARGUMENT,
    -1120: pb.KIND_INVALID_ARGUMENT,
    -1121: pb.KIND_NOT_FOUND,
}


def classify(status, said):
    """What a refusal means in Binance's own words, None where the status says it all."""
    if status == 418:
        return Failure(pb.KIND_RATE_LIMITED, "banned for having gone on after a 429", 120.0)
    if status == 451:
        return Failure(pb.KIND_PERMISSION_DENIED, "restricted location", 60.0)
    if isinstance(said, dict) and said.get("code") in KINDS:
        kind = KINDS[said["code"]]
        return Failure(kind, f"{said['code']} {str(said.get('msg', ''))[:200]}", 60.0 if kind == pb.KIND_RATE_LIMITED else None)
    return None


def number(value):
    """A figure, None for what is none: what is not known stays unknown."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        f = float(value)
    except ValueError:
        return None
    return f if math.isfinite(f) else None


def millis(value):
    """A stamp in milliseconds, None for what is none."""
    f = number(value)
    return int(f) if f is not None and 0 < f < MAX_MILLIS else None


def bad(path, what):
    return Failure(pb.KIND_BAD_UPSTREAM, f"GET {path}: {what}")


def objects(path, reply):
    """A list of objects, which is what an answer should be."""
    if not isinstance(reply, list) or not all(isinstance(row, dict) for row in reply):
        raise bad(path, "the answer is not a list of objects")
    return reply


class Source:
    """Answers the roles of the island."""

    def __init__(self, settings, name):
        address = urllib.parse.urlsplit(settings["url"])
        settings.require("url", address.scheme in ("http", "https") and address.hostname, "an address that begins with http:// or https://")
        settings.require("timeout", 0.05 <= settings["timeout"] <= 60, 'a duration from "50ms" to "1m"')
        settings.require("calls_per_minute", 4 <= settings["calls_per_minute"] <= 1_000_000, "a number from 4 to 1000000")
        self._name = name
        self._client = Client(settings["url"], settings["timeout"], settings["calls_per_minute"], classify)
        self._lock = threading.Lock()  # Whoever holds it loads the list; the others wait for that.
        self._pairs, self._listed = None, 0.0
        self._failure, self._failed = None, 0.0
        self.health, self.metrics = self._client.health, self._client.metrics

    def close(self):
        """There is nothing to release: connections end with their calls."""

    def quotes(self, request, context):
        if len(request.assets) > MAX_ASSETS:
            raise Failure(pb.KIND_INVALID_ARGUMENT, f"{len(request.assets)} assets at once; at most {MAX_ASSETS}")
        if not request.assets:
            return pb.QuotesResponse()
        pairs = self._list(LIST_AGE, context, request.retries)
        try:
            return self._tickers(pairs, request, context)
        except Failure as failure:
            if failure.kind != pb.KIND_NOT_FOUND:
                raise
        # A pair has gone since the list was made, which spoils the call for all others.
        return self._tickers(self._list(LIST_PAUSE, context, request.retries), request, context)

    def _tickers(self, pairs, request, context):
        against, note = quote_asset(pairs, request.vs_currency)
        wanted = sorted({pairs[(a.symbol.upper(), against)] for a in request.assets if (a.symbol.upper(), against) in pairs})
        if not wanted:
            return pb.QuotesResponse()
        path = "/api/v3/ticker/24hr"
        reply = self._client.get(path, {"symbols": json.dumps(wanted, separators=(",", ":"))}, context, request.retries)
        if not all(isinstance(row.get("symbol"), str) for row in objects(path, reply)):
            raise bad(path, "a row names no symbol")
        rows = {row["symbol"]: row for row in reply}
        quotes = []
        for asset in request.assets:
            symbol = pairs.get((asset.symbol.upper(), against))
            row = None if symbol is None else rows.get(symbol)  # What is not traded has no row, whatever the answer says.
            price = number(row.get("lastPrice")) if row else None
            if not price or price < 0 or row.get("count") == 0:
                continue  # Nothing was traded: the figures are zeros that mean nothing.
            quote = pb.Quote(
                id=asset.id, symbol=asset.symbol, name=asset.name, vs_currency=request.vs_currency, source=self._name, note=note,
                price=price, change_24h=number(row.get("priceChangePercent")), high_24h=number(row.get("highPrice")),
                low_24h=number(row.get("lowPrice")), volume_24h=number(row.get("quoteVolume")),
            )
            quote.as_of.FromMilliseconds(millis(row.get("closeTime")) or int(time.time() * 1000))
            quotes.append(quote)
        return pb.QuotesResponse(quotes=quotes)

    def candles(self, request, context):
        if request.interval not in INTERVALS:
            raise Failure(pb.KIND_UNSUPPORTED, f'no candles of "{request.interval}"; there are {", ".join(INTERVALS)}')
        if not 1 <= request.limit <= MAX_CANDLES:
            raise Failure(pb.KIND_INVALID_ARGUMENT, f"a limit of {request.limit} candles; it can be 1 to {MAX_CANDLES}")
        asset = request.asset
        pairs = self._list(LIST_AGE, context, request.retries)
        against, note = quote_asset(pairs, request.vs_currency)
        symbol = pairs.get((asset.symbol.upper(), against))
        if symbol is None:
            raise Failure(pb.KIND_NOT_FOUND, f'"{asset.symbol}" is not traded against {against}')
        path = "/api/v3/klines"
        rows = self._client.get(path, {"symbol": symbol, "interval": request.interval, "limit": request.limit}, context, request.retries)
        now = int(time.time() * 1000)
        series = pb.CandleSeries(
            id=asset.id, symbol=asset.symbol, interval=request.interval, vs_currency=request.vs_currency, source=self._name, note=note)
        series.as_of.FromMilliseconds(now)
        found = {}  # By when they open: oldest first and each once, in whatever order they came.
        if not isinstance(rows, list):
            raise bad(path, "the answer is not a list")
        for row in rows:
            opens, candle = candle_of(path, row, now)
            if candle is not None:
                found[opens] = candle
        series.candles.extend([found[opens] for opens in sorted(found)][-request.limit:])
        if not series.candles:
            raise Failure(pb.KIND_NOT_FOUND, f"{symbol} is not traded")
        return pb.CandlesResponse(series=series)

    def _list(self, age, context, retries):
        """What is traded against what, no older than age seconds if Binance answers."""
        began = time.monotonic()
        while not self._lock.acquire(timeout=min(0.1, max(0.0, remaining(context)))):
            if not context.is_active() or remaining(context) <= 0:
                raise abandoned("waiting for the list of pairs", context)
        try:
            now = time.monotonic()
            if self._pairs is not None and (now - self._listed < age or now - self._failed < LIST_PAUSE):
                return self._pairs
            if self._failure is not None and self._failed > began:
                raise self._failure  # Somebody has asked while this one waited; the answer would be the same.
            try:
                self._pairs = self._load(context, retries)
                self._listed, self._failure, self._failed = time.monotonic(), None, -LIST_PAUSE
            except Failure as failure:
                if failure.kind in (pb.KIND_DEADLINE_EXCEEDED, pb.KIND_CANCELED):
                    raise  # This caller has gone, and not the others.
                self._failure, self._failed = failure, time.monotonic()
                if self._pairs is None:
                    raise
            return self._pairs
        finally:
            self._lock.release()

    def _load(self, context, retries):
        path = "/api/v3/exchangeInfo"
        reply = self._client.get(path, {"showPermissionSets": "false", "symbolStatus": "TRADING"}, context, retries)
        if not isinstance(reply, dict):
            raise bad(path, "the answer is not an object")
        pairs = {}
        for row in objects(path, reply.get("symbols")):
            base, quote, symbol = row.get("baseAsset"), row.get("quoteAsset"), row.get("symbol")
            if row.get("status") == "TRADING" and all(isinstance(text, str) and text for text in (base, quote, symbol)):
                pairs[(base, quote)] = symbol
        if not pairs:
            raise bad(path, "no pair is traded")
        return pairs


def quote_asset(pairs, currency):
    """What Binance trades against for a currency, and the note that this asks for."""
    against, note = (TETHER, IN_TETHER) if currency == "usd" else (currency.upper(), "")
    if not any(quote == against for _, quote in pairs):
        raise Failure(pb.KIND_UNSUPPORTED, f'nothing is traded against "{currency}"')
    return against, note


def candle_of(path, row, now):
    """A candle of [opens, open, high, low, close, volume, closes, …] and when it opens; none where there was no price."""
    if not isinstance(row, list) or len(row) < 7:
        raise bad(path, "a candle is not a list of seven figures")
    opens, closes = millis(row[0]), millis(row[6])
    figures = [number(figure) for figure in row[1:6]]
    if opens is None or closes is None or any(f is None or f < 0 for f in figures):
        raise bad(path, f"a candle holds what is no figure: {json.dumps(row[:7])[:200]}")
    if figures[3] <= 0:
        return opens, None
    candle = pb.Candle(open=figures[0], high=figures[1], low=figures[2], close=figures[3], volume=figures[4], closed=closes < now)
    candle.open_time.FromMilliseconds(opens)
    return opens, candle
