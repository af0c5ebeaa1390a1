"""An S3 server in a process of its own, behind a proxy that fails on purpose: errors, resets, cuts and slow answers."""

import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from s3fs import S3FileSystem

from radio_io import object_store

ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>made to fail</Message></Error>"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
KINDS = ("error", "reset", "cut", "slow")


class Proxy(ThreadingHTTPServer):
    """Forwards to the server; with `fail_every` set, every so many-th first try of a request fails in turn."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.lock = target, threading.Lock()
        self.fail_every, self.requests, self.failures = 0, [], Counter()
        self.tried, self.count, self.refuse = set(), 0, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def fault_of(self, method, path, ranged):
        """What goes wrong with this request; a second try of the same one is let through."""
        with self.lock:
            self.requests.append((method, path, ranged))
            if self.refuse is not None and self.refuse(method, path):
                return "error"
            if not self.fail_every or (method, path, ranged) in self.tried:
                return None
            self.tried.add((method, path, ranged))
            self.count += 1
            if self.count % self.fail_every:
                return None
            kind = KINDS[(self.count // self.fail_every) % len(KINDS)]
            self.failures[kind] += 1
            return kind

    @contextmanager
    def failing(self, every):
        self.fail_every = every
        self.tried.clear()
        self.failures.clear()
        try:
            yield self
        finally:
            self.fail_every = 0

    def handle_error(self, request, client_address):
        """Clients that go away are no failure of a test."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault_of(self.command, self.path, self.headers.get("Range"))
        if fault == "slow":
            time.sleep(0.5)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault == "error":
            self.answer(500, [("Content-Type", "application/xml")], ERROR)
            return
        target = http.client.HTTPConnection(*self.server.target, timeout=60)
        target.request(self.command, self.path, body, dict(self.headers))
        response = target.getresponse()
        content = response.read()
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        target.close()
        self.answer(response.status, headers, content, length=length, cut=fault == "cut")

    def answer(self, status, headers, content, *, length=None, cut=False):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if cut and content else content)
        if cut:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def s3_server():
    """The proxy of a running server; the environment leads every client of this process and its children to it."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy = Proxy(("127.0.0.1", port))
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_MAX_ATTEMPTS": "2",
    }
    before = {name: os.environ.get(name) for name in environment}
    try:
        wait_for(port, process)
        os.environ.update(environment)
        forget_clients()
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        process.terminate()
        process.wait(10)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        forget_clients()


def forget_clients():
    """Those of this process, which know the server by the environment as it was."""
    object_store._store.cache_clear()
    S3FileSystem.clear_instance_cache()


def wait_for(port, process):
    for _ in range(300):
        assert process.poll() is None, "the S3 server did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the S3 server does not answer")
