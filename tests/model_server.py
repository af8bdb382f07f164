"""A loopback server of one file, with ranges, that can cut connections, lie and redirect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(slots=True)
class Behaviour:
    """What the server does: `cut_after` bytes of every answer, for the first `cuts` answers."""

    data: bytes
    cut_after: int = 0
    cuts: int = 0
    ranges: bool = True
    status: int = 0
    redirect: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Serve; yields the address of the file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behaviour.asked.append(self.headers.get("Range", ""))
            if behaviour.redirect and not self.path.startswith("/there"):
                self.send_response(302)
                self.send_header("Location", behaviour.redirect)
                self.end_headers()
                return
            if behaviour.status:
                self.send_error(behaviour.status)
                return
            wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and behaviour.ranges else 0
            data = behaviour.data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(behaviour.data) - 1}/{len(behaviour.data)}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if behaviour.cuts:
                behaviour.cuts -= 1
                data = data[: behaviour.cut_after]
                self.close_connection = True
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tiny.zip"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
