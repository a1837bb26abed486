"""An HTTP service on loopback for the product example."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Service(ThreadingHTTPServer):
    """Answers each request with the same status and body, after `latency` seconds; used as a context manager."""

    daemon_threads = False  # so that closing it waits for the threads of its requests

    def __init__(self, status: int, body: str, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body, self.latency = status, body, latency
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> "Service":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        if self.server.stopping.wait(self.server.latency):
            return
        body = self.server.body.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
