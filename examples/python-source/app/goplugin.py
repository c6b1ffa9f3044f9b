"""The part of HashiCorp's go-plugin that a program plays when a host starts it.

A host starts the program with a magic cookie, a certificate and a folder for a socket in the environment. The program
opens a gRPC server on a socket in that folder, with mutual TLS by certificates that both sides made for this one run,
and prints one line that says where. Nothing here knows what the island does.
"""

import base64
import ctypes
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from concurrent import futures
from datetime import datetime, timezone

COOKIE = ("SERVICE_ISLANDS_ISLAND", "f3a7c1b2-9d64-4c1e-8a55-2f6f0c7f1d90")
CORE_PROTOCOL = 1
MAX_MESSAGE = 16 << 20
# Calls at once. One of these threads carries what the island prints, and health has to be answered whatever else goes on.
WORKERS = 128
LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40}


def log(level, message, **fields):
    """Write a record as the host reads it: one JSON object in one line on standard error."""
    if LEVELS[level] < LEVELS.get(os.environ.get("ISLANDS_LOG_LEVEL", "INFO"), 20):
        return
    record = {"time": datetime.now(timezone.utc).isoformat(), "level": level, "msg": message, **fields}
    line = json.dumps(record, default=str) + "\n"
    try:
        os.write(2, line.encode())  # In one piece: other threads write, too.
    except OSError:
        pass  # Nobody reads any more.


def started_by_host():
    """Whether a host started this process."""
    return os.environ.get(COOKIE[0]) == COOKIE[1]


def certificate():
    """Make a key and a certificate for this run. Python cannot; openssl, which TLS needs anyway, can."""
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-", "-days", "3650",
        "-subj", "/O=service-islands/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-addext", "extendedKeyUsage=serverAuth,clientAuth",
    ]
    try:
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5, check=True)
    except FileNotFoundError:
        raise SystemExit("the certificate for the connection to the host is made by openssl, which is not installed") from None
    except subprocess.CalledProcessError as e:
        raise SystemExit(f"openssl made no certificate: {e.stderr.strip()}") from None
    key, mark, cert = made.stdout.partition("-----BEGIN CERTIFICATE-----")
    return key.encode(), (mark + cert).encode()


def serve(register, protocol):
    """Serve what register adds to the server, until the host says that it is over. Does not return."""
    prepare()
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR", "")
    client = os.environ.get("PLUGIN_CLIENT_CERT", "")
    if not folder or not client:
        raise SystemExit("the host names no PLUGIN_UNIX_SOCKET_DIR or no PLUGIN_CLIENT_CERT: it is not one of Service Islands")
    watch_lifeline()
    key, cert = certificate()

    import grpc  # After all that may be said without it: it takes a while to load.

    import goplugin_pb2_grpc
    import health_pb2_grpc

    over = threading.Event()
    threading.stack_size(512 << 10)  # A limit of memory counts all stacks in full.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=WORKERS),
        maximum_concurrent_rpcs=4 * WORKERS,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            # The host asks every ten seconds whether the connection stands. Without these it would be told to go away.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
            ("grpc.so_reuseport", 0),
        ],
    )
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
    goplugin_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(over), server)
    stdio = Stdio()
    goplugin_pb2_grpc.add_GRPCStdioServicer_to_server(stdio, server)
    register(server)
    path = os.path.join(folder, "plugin" + secrets.token_hex(4))
    credentials = grpc.ssl_server_credentials([(key, cert)], root_certificates=client.encode(), require_client_auth=True)
    if server.add_secure_port("unix:" + path, credentials) == 0:
        raise SystemExit(f"cannot listen on {path}")
    server.start()
    raw = base64.b64encode(ssl.PEM_cert_to_DER_cert(cert.decode())).decode().rstrip("=")
    handshake = f"{CORE_PROTOCOL}|{protocol}|unix|{path}|grpc|{raw}\n"
    os.write(1, handshake.encode())
    stdio.take_over()
    over.wait()
    server.stop(1).wait()
    sys.stdout.flush()
    os._exit(0)  # Threads may still wait for what nobody sends any more.


def prepare():
    """Do to the process what the host expects of an island's."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # The host decides when an island ends, and drains it first.
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: no other process of this user reads its secrets.


def watch_lifeline():
    """End the process once the host is gone, however it ended."""
    fd = os.environ.get("ISLANDS_LIFELINE_FD", "")
    if not fd.isdigit():
        return

    def wait():
        try:
            os.read(int(fd), 1)  # Nothing is ever written: when it returns, the other end is closed.
        except OSError:
            pass
        folder, temporary = os.environ.get("PLUGIN_UNIX_SOCKET_DIR", ""), os.environ.get("TMPDIR", "")
        if folder:
            parent = os.path.dirname(folder)
            empty(folder)
            if temporary in (os.path.join(parent, "tmp"), "/proc/self/fd/5"):  # Made for this process alone.
                empty(temporary)
            for left in (folder, temporary, parent):  # What may not be removed is the janitor's of the next host.
                try:
                    os.rmdir(left)
                except OSError:
                    pass
        os._exit(0)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def empty(folder):
    """Remove what is in a folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            try:
                os.unlink(entry.path)
            except OSError:
                pass


class Health:
    """Answers go-plugin's question whether the program serves."""

    def Check(self, request, context):
        import health_pb2

        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


class Controller:
    """Ends the program when the host says so."""

    def __init__(self, over):
        self._over = over

    def Shutdown(self, request, context):
        import goplugin_pb2

        self._over.set()
        return goplugin_pb2.Empty()


class Stdio:
    """Carries what is printed after the handshake to the host, whoever prints it: standard output becomes a pipe.

    Standard error is left alone, because the host reads that itself.
    """

    def __init__(self):
        self._read, self._write = os.pipe()

    def take_over(self):
        os.dup2(self._write, 1)
        os.close(self._write)
        sys.stdout.reconfigure(line_buffering=True)

    def StreamStdio(self, request, context):
        import goplugin_pb2

        while context.is_active():
            piece = os.read(self._read, 32 << 10)
            if not piece:
                return
            yield goplugin_pb2.StdioData(channel=goplugin_pb2.StdioData.STDOUT, data=piece)
