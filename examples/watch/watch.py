#!/usr/bin/env python3
"""Prints the live feed of a host, a line per price: watch.py [--url http://127.0.0.1:3000] [symbols...]

Python 3.8 or later and nothing else: it reads GET /api/stream, Server-Sent Events over plain HTTP. It reconnects on its
own and goes on where it was left (Last-Event-ID); what the connection and the feed have to say goes to standard error.
"""
import argparse
import decimal
import http.client
import json
import os
import random
import sys
import time
import urllib.parse

LONGEST_LINE = 8 << 20  # bytes; a snapshot of every symbol is one line.
LONGEST_WAIT = 600.0  # seconds, however long the host asks to stay away.


class Refused(Exception):
    """The feed cannot be had, and asking again is of no use."""


class Unread(Exception):
    """Nobody reads standard output any more."""


class Feed:
    """Remembers what a reconnecting client has to: the cursor, the place in each channel, and how long to wait."""

    def __init__(self, url, symbols):
        self.base = urllib.parse.urlsplit(url)
        try:
            known = self.base.scheme in ("http", "https") and self.base.hostname and self.base.port != 0
        except ValueError:  # The port is none.
            known = False
        if not known:
            raise Refused(f"--url wants an address such as http://127.0.0.1:3000, not {url!r}")
        channels = [f"ticker:{symbol.lower()}" for symbol in symbols] or ["ticker:*"]
        self.path = self.base.path.rstrip("/") + "/api/stream?" + urllib.parse.urlencode({"channels": ",".join(channels)})
        self.cursor = None  # of the last event, for Last-Event-ID.
        self.places = {}  # channel: (epoch, seq)
        self.retry = 0.5  # seconds; the stream may tell another.
        self.silence = 45.0  # seconds without a byte: three heartbeats, until welcome tells.
        self.wait = None  # seconds, when the host said how long to stay away.
        self.met = False  # a feed was here before.

    def events(self):
        """Yields (type, message) until the connection ends."""
        secure = self.base.scheme == "https"
        connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(self.base.netloc, timeout=10)
        try:
            headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
            if self.cursor:
                headers["Last-Event-ID"] = self.cursor
            connection.request("GET", self.path, headers=headers)
            stream = connection.sock  # Kept by the response alone once the server closes after it.
            response = connection.getresponse()
            self.check(response)
            kind, data, cursor = "", [], self.cursor
            while True:
                stream.settimeout(self.silence)
                line = response.readline(LONGEST_LINE)
                if not line.endswith(b"\n"):
                    raise ConnectionError("the stream ended" if len(line) < LONGEST_LINE else "a line without an end")
                text = line.decode().rstrip("\r\n")
                field, _, value = text.partition(":")  # A comment has no field.
                value = value[1:] if value.startswith(" ") else value
                if field == "event":
                    kind = value
                elif field == "data":
                    data.append(value)
                elif field == "id":
                    cursor = value
                elif field == "retry" and value.isdigit():
                    self.retry = int(value) / 1000
                elif not text:  # The end of an event.
                    if data:
                        yield kind, json.loads("\n".join(data), parse_float=decimal.Decimal)
                    kind, data, self.cursor = "", [], cursor
        finally:
            connection.close()

    def check(self, response):
        status, after = response.status, response.getheader("Retry-After", "")
        if status == 200:
            self.met = True
            return
        if status in (429, 503) and after.isdigit():
            self.wait = float(after)
        reason = f"the answer is {status} {response.reason}"
        if status == 204 or 400 <= status < 500 and status not in (408, 425, 429) and not self.met:
            raise Refused(reason)
        raise ConnectionError(reason)

    def take(self, kind, message):
        """Shows what an event tells."""
        data = message["data"]
        if kind == "welcome":
            self.silence = 3 * min(max(float(data["heartbeat_interval_ms"]), 1.0), 300e3) / 1000
        elif kind == "shutdown":
            self.wait = float(data["reconnect_after_ms"]) / 1000
        elif kind == "error":
            note(f"{data['code']}: {data['message']}")
        elif kind in ("snapshot", "market_update") and self.follow(kind, message):
            clock = time.strftime("%H:%M:%S")
            emit(f"{clock} {symbol} {figure(data[symbol].get('price'))}" for symbol in sorted(data))

    def follow(self, kind, message):
        """Reports a hole in the channel's numbers, and whether the message is news."""
        channel, epoch, seq = message["channel"], message["epoch"], message["seq"]
        before = self.places.get(channel)
        if before and before[0] == epoch and kind != "snapshot" and seq <= before[1]:
            return False
        if before and before[0] != epoch:
            note(f"hole in {channel}: epoch {before[0]} ended at {before[1]}, epoch {epoch} goes on at {seq}")
        elif before and seq > before[1] + (kind != "snapshot"):
            note(f"hole in {channel}: {seq - before[1] - (kind != 'snapshot')} lost between seq {before[1]} and {seq}")
        self.places[channel] = (epoch, seq)
        return True

    def run(self):
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                for kind, message in self.events():
                    self.take(kind, message)
            except (OSError, http.client.HTTPException) as problem:
                reason = str(problem) or type(problem).__name__
            except (ValueError, LookupError, TypeError, AttributeError) as problem:
                reason = f"a message that cannot be read: {problem!r}"
            attempt = 0 if time.monotonic() - began >= 10 else attempt + 1
            pause = random.uniform(0, min(30.0, max(self.retry, 0.01) * 2 ** min(attempt, 10)))
            if self.wait is not None:
                pause = min(max(self.wait, 0.0), LONGEST_WAIT)
            self.wait = None
            note(f"{reason}; reconnecting in {pause:.1f} s")
            time.sleep(pause)


def clear(text):
    """The text without what a terminal would obey."""
    return "".join(letter for letter in text if letter.isprintable())


def figure(number):
    """The number as it was sent: plain, and not rounded."""
    return "-" if number is None else str(number) if isinstance(number, int) else format(number, "f")


def emit(texts):
    try:
        for text in texts:
            print(clear(text))
        sys.stdout.flush()
    except OSError as problem:
        raise Unread from problem


def note(text):
    print(clear(text), file=sys.stderr, flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", default="http://127.0.0.1:3000", help="the address of the host")
    options.add_argument("symbols", nargs="*", help="what to print; everything by default")
    chosen = options.parse_args()
    try:
        Feed(chosen.url, chosen.symbols).run()
    except Refused as refused:
        sys.exit(f"watch.py: {refused}")
    except KeyboardInterrupt:
        pass
    except Unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Or the interpreter complains on its way out.


if __name__ == "__main__":
    main()
