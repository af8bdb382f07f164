"""A real Orthanc on loopback, a proxy that cuts, and web servers that misbehave: for the tests of the network."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from medviewer.io.network.servers import Server

ORTHANC = Path("/usr/sbin/Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "med", "viewer"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Orthanc:
    """A running server."""

    http: int
    dicom: int
    listen: int
    process: subprocess.Popen[bytes]

    def dimse(self, **more: object) -> Server:
        values = {
            "name": "Orthanc", "host": "127.0.0.1", "port": self.dicom, "ae_title": "ORTHANC",
            "own_ae_title": "MEDVIEW", "listen_port": self.listen,
        }  # fmt: skip
        return Server(**{**values, **more})  # type: ignore[arg-type]

    def web(self, **more: object) -> Server:
        url = f"http://127.0.0.1:{self.http}/dicom-web"
        values = {"name": "Orthanc web", "kind": "dicomweb", "url": url, "auth": "basic", "user": USER}
        return Server(**{**values, "secret": PASSWORD, **more})  # type: ignore[arg-type]

    def rest(self, path: str, data: bytes | None = None, method: str = "GET") -> object:
        return json.loads(self.download(path, data, method) or b"null")

    def download(self, path: str, data: bytes | None = None, method: str = "GET") -> bytes:
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data, method=method)
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def upload(self, files: list[Path]) -> None:
        for path in files:
            self.rest("/instances", path.read_bytes(), "POST")

    def clear(self) -> None:
        for study in self.rest("/studies"):  # type: ignore[attr-defined]
            self.rest(f"/studies/{study}", method="DELETE")


@contextlib.contextmanager
def orthanc_server(folder: Path) -> Iterator[Orthanc]:
    """Run Orthanc with its DICOMweb plugin on free ports."""
    http, dicom, listen = free_port(), free_port(), free_port()
    config = {
        "Name": "test", "DefaultEncoding": "Utf8",
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)], "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False, "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
        "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": False,
        "DicomModalities": {
            "MEDVIEW": {"AET": "MEDVIEW", "Host": "127.0.0.1", "Port": listen, "Manufacturer": "Generic"}
        },
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "StudiesMetadata": "Full"},
        "UnknownSopClassAccepted": True, "OverwriteInstances": True, "ConcurrentJobs": 2, "StableAge": 2,
        "HttpVerbose": False, "DicomScuTimeout": 5,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    server = Orthanc(http, dicom, listen, process)
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                server.rest("/system")
                break
            assert process.poll() is None, (folder / "orthanc.log").read_text(errors="replace")
            assert time.monotonic() < end, "Orthanc did not start"
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        shutil.rmtree(folder / "db", ignore_errors=True)


class Proxy:
    """A TCP proxy that cuts each connection after so many bytes from the server, or trickles them."""

    def __init__(self, target: int, cut_after: int | None = None, pause_s: float = 0.0, listen: int = 0) -> None:
        self.target = target
        self.cut_after = cut_after
        self.cut_from_client: int | None = None
        self.pause_s = pause_s
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", listen))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._quit = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._quit.set()
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._quit.is_set():
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
                server.settimeout(None)
            except OSError:
                continue
            self._open += [client, server]
            threading.Thread(target=self._pump, args=(client, server, self.cut_from_client), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, self.cut_after), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(16384 if most is None else max(1, min(16384, most - passed))):
                if self.pause_s:
                    self._quit.wait(self.pause_s)
                target.sendall(data)
                passed += len(data)
                if most is not None and passed >= most:
                    self.cuts += 1
                    break
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


Reply = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def web_server(reply: Reply, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve HTTP on loopback; `reply` answers each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def body(path: Path) -> bytes:
    """Return the data set of a file: all after the meta information, which names whoever wrote the file."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    with path.open("rb") as file:
        read_preamble(file, False)
        _read_file_meta_info(file)
        return file.read()
