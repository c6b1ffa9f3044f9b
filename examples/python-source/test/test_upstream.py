"""What the client does that a host cannot see. TestOwn runs it, and so does `python3 -B -m unittest discover -s test`."""

import contextlib
import http.server
import os
import pathlib
import sys
import threading
import time
import unittest

os.environ["ISLANDS_LOG_LEVEL"] = "ERROR"
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "app"))

from contract import Failure  # noqa: E402
from islands.v1 import islands_pb2 as pb  # noqa: E402
from upstream import Client  # noqa: E402


class Context:
    """A caller with some seconds, who may have gone before he asks."""

    def __init__(self, seconds=30.0, gone=False):
        self._end, self._gone = time.monotonic() + seconds, gone

    def time_remaining(self):
        return self._end - time.monotonic()

    def is_active(self):
        return not self._gone

    def add_callback(self, _callback):
        return not self._gone


class ClientTest(unittest.TestCase):
    def client(self, answer, per_minute=1_000_000):
        """A client of a service that calls answer for each request and sends what that returns."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = answer()
                with contextlib.suppress(OSError):  # Not everybody waits for it.
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = False
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        self.addCleanup(serving.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return Client(f"http://127.0.0.1:{server.server_address[1]}", 30.0, per_minute, lambda *_args: None)

    def refused(self, kind, client, context):
        with self.assertRaises(Failure) as seen:
            client.get("/x", {}, context, 3)
        self.assertEqual(seen.exception.kind, kind)

    def test_nothing_is_sent_or_counted_for_who_is_gone_or_late(self):
        asked = []
        client = self.client(lambda: asked.append(1) or b"{}", per_minute=8)
        for _ in range(5):
            self.refused(pb.KIND_CANCELED, client, Context(gone=True))
            self.refused(pb.KIND_DEADLINE_EXCEEDED, client, Context(seconds=0.0))
        self.assertEqual(asked, [])
        for family in client.metrics():
            for sample in family.samples:
                self.assertEqual((sample.value, sample.histogram.count), (0, 0), family.name)
        client.get("/x", {}, Context(), 0)  # The budget of two at once is whole.
        client.get("/x", {}, Context(), 0)
        self.assertEqual(len(asked), 2)

    def test_a_caller_in_a_hurry_says_nothing_about_the_service(self):
        over = threading.Event()
        self.addCleanup(over.set)
        client = self.client(lambda: b"{}" if over.wait(30) else b"")
        self.refused(pb.KIND_DEADLINE_EXCEEDED, client, Context(seconds=0.2))
        self.assertEqual(client.health().status, pb.STATUS_OK)

    def test_memory_for_answers_is_bounded(self):
        lock, under_way = threading.Lock(), [0, 0]

        def answer():
            with lock:
                under_way[0] += 1
                under_way[1] = max(under_way)
            time.sleep(0.1)
            with lock:
                under_way[0] -= 1
            return b"[1]"

        client, answers = self.client(answer), []
        callers = [threading.Thread(target=lambda: answers.append(client.get("/x", {}, Context(), 0))) for _ in range(40)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(answers, [[1]] * 40)
        self.assertLessEqual(under_way[1], 8)  # Of eight megabytes each at most.
        large = self.client(lambda: b"[".ljust(8 << 20) + b"]")
        self.refused(pb.KIND_BAD_UPSTREAM, large, Context())


if __name__ == "__main__":
    unittest.main()
