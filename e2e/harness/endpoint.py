"""An HTTP endpoint for RGW's own bucket notifications."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .machine import wait_until


class Endpoint:
    """Collects what RGW pushes, on a free port of loopback."""

    def __init__(self):
        self.records = []
        records = self.records

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                records.extend(json.loads(body)["Records"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Nothing is to be printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self, count, timeout=30):
        """Waits until so many records are there; returns all of them."""
        wait_until(lambda: len(self.records) >= count, f"{count} records (there are {len(self.records)})", timeout)
        return list(self.records)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
