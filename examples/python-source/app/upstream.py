"""A polite HTTP client: it keeps to a budget, obeys Retry-After, bounds every call in time and size, tries again only when
the host says so, and answers each failure with a kind."""

import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import parsedate_to_datetime

import goplugin
from contract import Failure, name_of, request_id
from islands.v1 import islands_pb2 as pb

MAX_BODY = 8 << 20
MOST_SOCKETS = 8  # Each may hold a body: 64 MiB at most, whatever the service sends.
MINUTE = 60.0
MOST_SILENCE = 3600.0
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are not followed: another address is for the operator to write."""

    def redirect_request(self, *_args, **_kwargs):
        return None


class Caller:
    """Whoever waits for an answer. When he goes, by cancellation too, what is under way for him is cut off: a read that blocks
    notices nothing else."""

    def __init__(self, context):
        self._lock, self._socket = threading.Lock(), None
        self._gone = threading.Event()
        if not context.add_callback(self._leave):
            self._gone.set()

    def gone(self):
        return self._gone.is_set()

    def pause(self, seconds):
        """Waits, and not for somebody who goes meanwhile."""
        self._gone.wait(seconds)

    def connected(self, sock):
        with self._lock:
            self._socket = sock
            if self._gone.is_set():
                cut(sock)

    def _leave(self):
        with self._lock:
            self._gone.set()
            if self._socket is not None:
                cut(self._socket)


def cut(sock):
    """Ends the reads and writes of a socket, in whatever thread; closing it is for whoever opened it."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # Of TLS, too, whose own would take its state from under the reader.
    except OSError:
        pass  # It has ended by itself.


class Connection(http.client.HTTPConnection):
    caller = None

    def connect(self):
        super().connect()
        self.caller.connected(self.sock)


class SecureConnection(http.client.HTTPSConnection):
    caller = None

    def connect(self):
        super().connect()
        self.caller.connected(self.sock)


def connecting(kind, caller):
    """Makes connections of a kind that the caller's leaving cuts off."""

    def connect(*args, **named):
        connection = kind(*args, **named)
        connection.caller = caller
        return connection

    return connect


class Plain(urllib.request.HTTPHandler):
    def http_open(self, request):
        return self.do_open(connecting(Connection, request.caller), request)


class Secure(urllib.request.HTTPSHandler):
    def https_open(self, request):
        return self.do_open(connecting(SecureConnection, request.caller), request, context=self._context)


class Client:
    """Asks one service. Safe for many threads."""

    def __init__(self, url, timeout, per_minute, classify):
        self._url, self._timeout, self._classify = url.rstrip("/"), timeout, classify
        self._opener = urllib.request.build_opener(NoRedirect, Plain, Secure(context=ssl.create_default_context()))
        # A bucket that starts full and refills with what that leaves of the minute: no minute ever holds more.
        self._burst = max(1.0, per_minute / 4)
        self._refill = (per_minute - self._burst) / MINUTE
        self._sockets = threading.BoundedSemaphore(MOST_SOCKETS)
        self._lock = threading.Lock()
        self._tokens, self._at = self._burst, time.monotonic()
        self._silent_until, self._silence = 0.0, ""
        self._failures, self._reason, self._last_429 = 0, "", 0.0
        self._calls, self._refused = {}, {"limiter": 0, "silence": 0}
        self._retries = self._limited = 0
        self._took, self._sum, self._count = [0] * len(BUCKETS), 0.0, 0

    def get(self, path, query, context, retries):
        """The JSON that the service answers to a GET. retries is how often it may be asked again within the call's deadline."""
        caller = Caller(context)
        for attempt in range(max(0, retries) + 1):
            try:
                return self._attempt(path, query, context, caller, attempt)
            except Failure as failure:
                pause = 0.2 * 2**attempt * random.uniform(0.5, 1.5)
                again = failure.kind in (pb.KIND_UNAVAILABLE, pb.KIND_BAD_UPSTREAM) and attempt < retries
                if not again or caller.gone() or remaining(context) < pause + 0.1:
                    raise
                caller.pause(pause)
        raise AssertionError("unreachable")

    def _attempt(self, path, query, context, caller, attempt):
        left = remaining(context)
        if left <= 0 or caller.gone():
            raise abandoned(f"GET {path}", context)  # Nothing is sent, so nothing is counted.
        self._admit(path)
        began = time.monotonic()
        try:
            answer = self._exchange(path, query, context, caller, left)
        except Failure as failure:
            self._note(time.monotonic() - began, attempt, failure)
            raise
        self._note(time.monotonic() - began, attempt, None)
        return answer

    def _admit(self, path):
        with self._lock:
            now = time.monotonic()
            if now < self._silent_until:
                self._refused["silence"] += 1
                raise Failure(pb.KIND_RATE_LIMITED, f"GET {path}: silent for a while: {self._silence}", self._silent_until - now)
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._refill)
            self._at = now
            if self._tokens < 1:
                self._refused["limiter"] += 1
                raise Failure(pb.KIND_RATE_LIMITED, f"GET {path}: the budget of calls is used up", (1 - self._tokens) / self._refill)
            self._tokens -= 1

    def _exchange(self, path, query, context, caller, left):
        end = time.monotonic() + min(self._timeout, left)
        late = Failure(pb.KIND_UNAVAILABLE, f"GET {path}: no answer in time")
        if left < self._timeout:
            late = Failure(pb.KIND_DEADLINE_EXCEEDED, f"GET {path}: no answer within the call's deadline")
        try:
            while not self._sockets.acquire(timeout=min(0.1, max(0.0, end - time.monotonic()))):
                if caller.gone() or time.monotonic() >= end:
                    raise late
            try:
                return self._ask(path, query, caller, end, late)
            finally:
                self._sockets.release()
        except Failure:
            if caller.gone():  # What is seen then is his doing, and not the service's.
                raise abandoned(f"GET {path}", context) from None
            raise

    def _ask(self, path, query, caller, end, late):
        request = urllib.request.Request(
            f"{self._url}{path}?{urllib.parse.urlencode(query)}",
            headers={"Accept": "application/json", "User-Agent": "service-islands-python-source/1.0"},
        )
        request.caller = caller
        try:
            with self._opener.open(request, timeout=max(0.001, end - time.monotonic())) as reply:
                body = read(reply, end, caller)
        except urllib.error.HTTPError as e:
            with e:
                raise self._refusal(path, e, end, caller) from None
        except TimeoutError:
            raise late from None
        except (OSError, urllib.error.URLError) as e:
            reason = getattr(e, "reason", e)
            if isinstance(reason, TimeoutError):
                raise late from None
            # Of an address that cannot be reached only the kind of trouble is said: keys may live in addresses.
            raise Failure(pb.KIND_UNAVAILABLE, f"GET {path}: {type(reason).__name__}") from None
        except Exception as e:  # http.client has errors of its own for answers that are none.
            raise Failure(pb.KIND_UNAVAILABLE, f"GET {path}: {type(e).__name__}") from None
        if body is None:
            raise Failure(pb.KIND_BAD_UPSTREAM, f"GET {path}: more than {MAX_BODY >> 20} MiB")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Failure(pb.KIND_BAD_UPSTREAM, f"GET {path}: the answer is not JSON") from None

    def _refusal(self, path, reply, end, caller):
        """What a status that is no success means."""
        status = reply.code
        try:
            body = read(reply, end, caller) or b""
        except Exception:
            body = b""
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        failure = self._classify(status, said)
        after = retry_after(reply.headers.get("Retry-After", ""))
        if failure is None:
            kind, silence = pb.KIND_BAD_UPSTREAM, None
            if status == 429:
                kind, silence = pb.KIND_RATE_LIMITED, MINUTE
            elif status in (401, 407):
                kind = pb.KIND_UNAUTHENTICATED
            elif status == 403:
                kind = pb.KIND_PERMISSION_DENIED
            elif status >= 500:
                kind = pb.KIND_UNAVAILABLE
            failure = Failure(kind, f"status {status}", silence)
        if after is not None:
            failure.retry_after = after
        return Failure(failure.kind, f"GET {path}: {failure}", failure.retry_after)

    def _note(self, took, attempt, failure):
        with self._lock:
            outcome = "ok" if failure is None else name_of(failure.kind)
            self._calls[outcome] = self._calls.get(outcome, 0) + 1
            self._retries += attempt > 0
            self._count += 1
            self._sum += took
            for i, bound in enumerate(BUCKETS):
                self._took[i] += took <= bound
            first = recovered = False
            if failure is None or failure.kind in (pb.KIND_NOT_FOUND, pb.KIND_INVALID_ARGUMENT, pb.KIND_UNSUPPORTED):
                recovered, self._failures, self._reason = self._failures > 0, 0, ""
                if failure is None:
                    self._silent_until = 0.0
            elif failure.kind not in (pb.KIND_CANCELED, pb.KIND_DEADLINE_EXCEEDED):
                # A caller who has gone or was in a hurry says nothing about the service.
                self._failures, self._reason = self._failures + 1, str(failure)
                if failure.kind == pb.KIND_RATE_LIMITED:
                    self._limited, self._last_429 = self._limited + 1, time.time()
                if failure.kind in (pb.KIND_RATE_LIMITED, pb.KIND_UNAVAILABLE, pb.KIND_PERMISSION_DENIED) and failure.retry_after:
                    until = time.monotonic() + min(failure.retry_after, MOST_SILENCE)
                    self._silent_until, self._silence = max(self._silent_until, until), str(failure)
                first = self._failures == 1
        if first:
            goplugin.log("WARN", "the service fails", error=str(failure))
        elif recovered:
            goplugin.log("INFO", "the service answers again")

    def health(self):
        """How the service is: degraded while it fails. To restart the island would mend nothing, so it is never failed."""
        with self._lock:
            left = max(0.0, self._silent_until - time.monotonic())
            part = pb.Part(name="upstream", status=pb.STATUS_OK)
            if self._failures or left:
                part.status, part.reason = pb.STATUS_DEGRADED, self._reason or self._silence
            part.details.update({
                "consecutive_failures": self._failures, "last_error": self._reason, "retry_after_seconds": round(left, 3),
                "last_429": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._last_429)) if self._last_429 else "",
            })
        return pb.HealthResponse(status=part.status, reason=part.reason, parts=[part])

    def metrics(self):
        """What the client counts."""
        with self._lock:
            buckets = [pb.Bucket(upper_bound=bound, count=n) for bound, n in zip(BUCKETS, self._took)]
            return [
                family("upstream_calls_total", "counter", "Attempts sent, by outcome: ok or the kind of error.",
                       *[pb.Sample(labels={"outcome": k}, value=v) for k, v in sorted(self._calls.items())]),
                family("upstream_retries_total", "counter", "Attempts that followed a failed one.", pb.Sample(value=self._retries)),
                family("upstream_rate_limited_total", "counter", "Replies that asked for fewer calls.", pb.Sample(value=self._limited)),
                family("upstream_refused_total", "counter", "Calls not sent, by what forbade them.",
                       *[pb.Sample(labels={"by": k}, value=v) for k, v in sorted(self._refused.items())]),
                family("upstream_call_duration_seconds", "histogram", "How long attempts took.",
                       pb.Sample(histogram=pb.Histogram(count=self._count, sum=self._sum, buckets=buckets)), unit="seconds"),
                family("upstream_silence_seconds", "gauge", "How long nothing will be sent.",
                       pb.Sample(value=max(0.0, self._silent_until - time.monotonic())), unit="seconds"),
            ]


def family(name, kind, doc, *samples, unit=""):
    return pb.Metric(name=name, type=kind, help=doc, unit=unit, samples=samples)


def remaining(context):
    """Seconds that are left of a call; plenty when it has no deadline, for which gRPC has nothing or an absurd number."""
    left = context.time_remaining()
    return 3600.0 if left is None else min(left, 3600.0)


def abandoned(what, context):
    """Why nothing came of something whose caller has gone."""
    if remaining(context) <= 0.05:
        return Failure(pb.KIND_DEADLINE_EXCEEDED, f"{what}: no answer within the call's deadline")
    return Failure(pb.KIND_CANCELED, f"{what}: the caller has gone")


def read(reply, end, caller):
    """The body, None when it is too large. A body that trickles in does not take longer than one that comes at once, and
    nobody reads on for a caller who has gone."""
    body = bytearray()  # The pieces themselves would take more than the body, where a service sends small ones.
    while piece := reply.read1(64 << 10):
        body += piece
        if len(body) > MAX_BODY:
            return None
        if time.monotonic() > end or caller.gone():
            raise TimeoutError
    if reply.length:  # Fewer bytes than were promised.
        raise ConnectionError("the answer was cut off")
    return body


def retry_after(text):
    """Seconds of a Retry-After, which is a number or a date; None when it is neither."""
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
