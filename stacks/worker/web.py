"""Takes jobs: POST / with a text queues it, GET / shows the latest results."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

queue = redis.Redis(os.environ.get("REDIS_HOST", "localhost"), socket_timeout=5)


class Jobs(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, b"ok\n")
        results = queue.lrange("results", 0, 9)
        return self.answer(200, b"".join(result + b"\n" for result in results) or b"no results yet\n")

    def do_POST(self):
        length = min(int(self.headers.get("Content-Length", 0)), 65536)
        queue.rpush("jobs", self.rfile.read(length))
        self.answer(202, b"queued\n")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    # Freehold asks it to stop with SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening on {port}")
    ThreadingHTTPServer(("", port), Jobs).serve_forever()
