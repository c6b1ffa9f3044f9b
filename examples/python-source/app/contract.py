"""The contract of Service Islands as an island in Python keeps it: errors with kinds, settings, and the life.

The host's side of it, with the meaning of every field, is sdk/proto/islands/v1/islands.proto.
"""

import json
import math
import re
import threading
import traceback

import grpc
from google.protobuf import any_pb2

import goplugin
import status_pb2
from islands.v1 import islands_pb2 as pb
from islands.v1 import islands_pb2_grpc

MAX_TEXT = 1024  # gRPC carries it in a header, and headers are bounded.
AT_ONCE = goplugin.WORKERS - 16  # Calls of roles; the other threads answer health and metrics.

CODES = {
    pb.KIND_INTERNAL: grpc.StatusCode.INTERNAL,
    pb.KIND_INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    pb.KIND_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    pb.KIND_RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    pb.KIND_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    pb.KIND_DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    pb.KIND_CANCELED: grpc.StatusCode.CANCELLED,
    pb.KIND_UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    pb.KIND_PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    pb.KIND_BAD_UPSTREAM: grpc.StatusCode.DATA_LOSS,
    pb.KIND_UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    pb.KIND_CONFLICT: grpc.StatusCode.ABORTED,
    pb.KIND_RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Failure(Exception):
    """Why a call did not succeed, in a kind that the host acts on. The text is in lower case and holds no secret."""

    def __init__(self, kind, message, retry_after=None, setting=""):
        super().__init__(message)
        self.kind, self.retry_after, self.setting = kind, retry_after, setting

    def abort(self, context):
        """End the call: a gRPC status whose one detail is the failure. Does not return."""
        text = str(self)[:MAX_TEXT]
        detail = pb.Failure(kind=self.kind, message=text, setting=self.setting)
        if self.retry_after is not None:
            detail.retry_after.FromMilliseconds(max(0, int(self.retry_after * 1000)))
        code = CODES[self.kind]
        packed = any_pb2.Any()
        packed.Pack(detail)
        status = status_pb2.Status(code=code.value[0], message=text, details=[packed])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, text)


def name_of(kind):
    """The name of a kind, such as "rate limited"."""
    return pb.Kind.Name(kind).removeprefix("KIND_").replace("_", " ").lower()


class Settings:
    """What islands.hcl says in the island's config block, checked against the manifest as strictly as the SDK does."""

    def __init__(self, declared, text):
        try:
            given = json.loads(text or "{}")
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise Failure(pb.KIND_INVALID_ARGUMENT, "settings are not a JSON object")
        known = {s["name"]: s for s in declared}
        for name in sorted(given):
            if name not in known:
                raise refused(name, f'no setting "{name}"; there are: {", ".join(known)}')
        self._values = {}
        for name, setting in known.items():
            value = given.get(name)
            if value is None:
                if setting["required"]:
                    raise refused(name, f'setting "{name}": is required ({setting["doc"]})')
                value = setting["default"]
                if setting["type"] in ("int", "float", "bool"):
                    value = json.loads(value)
            read, wanted = READERS[setting["type"]]
            self._values[name] = read(value)
            if self._values[name] is None:
                got = "" if setting["secret"] else f", not {json.dumps(value)[:60]}"
                raise refused(name, f'setting "{name}": wants {wanted}{got}')

    def __getitem__(self, name):
        return self._values[name]

    def require(self, name, holds, wanted):
        """Refuse a value that is of the right type and yet cannot be meant."""
        if not holds:
            raise refused(name, f'setting "{name}": wants {wanted}')


def refused(setting, message):
    return Failure(pb.KIND_INVALID_ARGUMENT, message, setting=setting)


UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"


def seconds(value):
    """A duration such as "1m30s" in seconds, None for what is none."""
    if value == "0":
        return 0.0
    if not isinstance(value, str) or not re.fullmatch(f"(?:{PART})+", value):
        return None
    return sum(float(n) * UNITS[unit] for n, unit in re.findall(PART, value))


def whole(value):
    """A whole number, None for what is none. JSON knows no whole numbers, and Python takes true for 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value != int(value):
        return None
    return int(value)


READERS = {
    "string": (lambda v: v if isinstance(v, str) else None, "a string"),
    "int": (whole, "a whole number"),
    "duration": (seconds, 'a duration such as "30s"'),
}


def answers(call):
    """Turn a method that returns an answer or raises into one that gRPC can call. An exception nobody meant is an internal
    error of that call alone, with its traceback in the log."""

    def answer(self, request, context):
        try:
            return call(self, request, context)
        except Failure as failure:
            failed = failure
        except Exception:
            goplugin.log("ERROR", f"exception in {call.__name__}", request_id=request_id(context), stack=traceback.format_exc())
            failed = Failure(pb.KIND_INTERNAL, f"the island raised an exception in {call.__name__}")
        return failed.abort(context)

    return answer


def request_id(context):
    """The id of the client's request, by which the logs of all processes are joined."""
    return dict(context.invocation_metadata()).get("islands-request-id", "")


class Island(islands_pb2_grpc.IslandServiceServicer):
    """The life that every island leads. make(settings, name) returns what answers: an object with health(), metrics() and
    close(), and a method for each role."""

    def __init__(self, manifest, make):
        self._manifest, self._make = manifest, make
        self._lock = threading.Lock()
        self._initialized = False
        self._at_work = None

    def work(self, context, method):
        """What answers, once it is there."""
        if self._at_work is None:
            raise Failure(pb.KIND_UNAVAILABLE, f"{method} came before Initialize")
        return self._at_work

    @answers
    def Manifest(self, request, context):
        m = dict(self._manifest)
        protocol, layer = m.pop("protocol"), m.pop("layer")
        layers = {"infrastructure": 1, "external_services": 2, "business_logic": 5}
        return pb.ManifestResponse(
            manifest=pb.Manifest(layer=layers[layer], protocol_major=protocol["major"], protocol_minor=protocol["minor"], **m))

    @answers
    def Initialize(self, request, context):
        with self._lock:
            again, self._initialized = self._initialized, True
        if again:
            raise Failure(pb.KIND_INVALID_ARGUMENT, "Initialize was called twice")
        self._at_work = self._make(Settings(self._manifest["settings"], request.settings_json), request.name)
        return pb.InitializeResponse()

    @answers
    def Health(self, request, context):
        if self._at_work is None:
            return pb.HealthResponse(status=pb.STATUS_FAILED, reason="not initialized")
        return self._at_work.health()

    @answers
    def Metrics(self, request, context):
        return pb.MetricsResponse(metrics=self._at_work.metrics() if self._at_work else [])

    @answers
    def Shutdown(self, request, context):
        if self._at_work is not None:
            self._at_work.close()
        return pb.ShutdownResponse()


class Source(islands_pb2_grpc.SourceServiceServicer):
    """The calls of the roles quotes and candles."""

    def __init__(self, island):
        self._island = island
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def _call(self, request, context, method):
        work = self._island.work(context, method)
        if not self._room.acquire(blocking=False):
            raise Failure(pb.KIND_RESOURCE_EXHAUSTED, f"{AT_ONCE} calls are under way; more are refused")
        try:
            return getattr(work, method.lower())(request, context)
        finally:
            self._room.release()

    @answers
    def Quotes(self, request, context):
        return self._call(request, context, "Quotes")

    @answers
    def Candles(self, request, context):
        return self._call(request, context, "Candles")

    @answers
    def Global(self, request, context):
        raise Failure(pb.KIND_UNSUPPORTED, "this island does not have the role global")

    @answers
    def Sentiment(self, request, context):
        raise Failure(pb.KIND_UNSUPPORTED, "this island does not have the role sentiment")

    @answers
    def Catalogue(self, request, context):
        raise Failure(pb.KIND_UNSUPPORTED, "this island does not have the role catalogue")

    @answers
    def Stream(self, request, context):
        raise Failure(pb.KIND_UNSUPPORTED, "this island does not have the role stream")


def serve(manifest, make):
    """Serve an island until its host ends it."""
    island = Island(manifest, make)

    def register(server):
        islands_pb2_grpc.add_IslandServiceServicer_to_server(island, server)
        islands_pb2_grpc.add_SourceServiceServicer_to_server(Source(island), server)

    goplugin.serve(register, manifest["protocol"]["major"])
