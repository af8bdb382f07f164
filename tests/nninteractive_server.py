"""A loopback server that speaks as the one of SlicerNNInteractive does, and can fail in its ways."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np


@dataclass(slots=True, eq=False)
class Held:
    """What the server has and does: a prompt inside adds the ball, box or area that it marks, one outside takes it."""

    image: np.ndarray | None = None
    object: np.ndarray | None = None
    asked: list[tuple[str, Any]] = field(default_factory=list)
    status: int = 200
    answer: bytes | None = None
    cut: bool = False
    redirect: str = ""


@contextmanager
def serving(held: Held) -> Iterator[str]:
    """Serve; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if held.redirect or held.status != 200:
                self.send_response(302 if held.redirect else held.status)
                self.send_header("Location", held.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            files = _parts(self.headers["Content-Type"], body)
            told = json.loads(body) if "json" in self.headers["Content-Type"] else files
            held.asked.append((self.path, told))
            if self.path == "/upload_image":
                held.image = np.load(io.BytesIO(files["file"]))
                held.object = np.zeros(held.image.shape, bool)
                self._send(b'{"status":"ok"}', "application/json")
            elif held.image is None:
                self._send(b'{"status":"error","message":"No image uploaded"}', "application/json")
            elif self.path == "/upload_segment":
                held.object = _mask(files["file"])
                self._send(b'{"status":"ok"}', "application/json")
            else:
                self._prompted(told, files)

        def _prompted(self, told: Any, files: dict[str, bytes]) -> None:
            assert held.image is not None
            assert held.object is not None
            marked = np.zeros(held.image.shape, bool)
            if self.path == "/add_point_interaction":
                place = told["voxel_coord"]
                marked[tuple(slice(max(0, n - 2), n + 3) for n in place)] = True
            elif self.path == "/add_bbox_interaction":
                corners = np.array([told["outer_point_one"], told["outer_point_two"]])
                marked[tuple(slice(a, b) for a, b in zip(corners.min(0), corners.max(0), strict=True))] = True
            else:
                marked = _mask(files["file"])
            positive = told["positive_click"] in (True, b"True")
            held.object = (held.object | marked) if positive else (held.object & ~marked)
            bits = np.packbits(held.object).tobytes()
            self._send(gzip.compress(bits) if held.answer is None else held.answer, "application/octet-stream", True)

        def _send(self, data: bytes, kind: str, packed: bool = False) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if held.cut and packed else data)
            self.close_connection = held.cut and packed

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _parts(kind: str, body: bytes) -> dict[str, bytes]:
    """Return the parts of a multipart form by name."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    if not message.is_multipart():
        return {}
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True) or b"")
        for part in message.iter_parts()
    }


def _mask(data: bytes) -> np.ndarray:
    mask: np.ndarray = np.load(io.BytesIO(gzip.decompress(data))).astype(bool)
    return mask
