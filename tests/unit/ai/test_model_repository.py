"""Whole repositories of Hugging Face: every file at a commit, each with its hash, from a loopback hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from medviewer.ai import model_download
from medviewer.ai.model_download import download_model, names_repository
from medviewer.ai.weights import ModelStore
from medviewer.core.errors import InputError, MedViewerError, TaskError
from medviewer.jobs.job import NullContext
from tests.model_makers import write_model
from tests.nninteractive_makers import write_nninteractive

CTX = NullContext()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True)
class Hub:
    """What the hub has, by path; a path in `lies` is sent otherwise than it is listed."""

    files: dict[str, bytes]
    lies: dict[str, bytes] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)
    page: int = 1000
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def listed(self) -> list[Any]:
        return self.entries or [_entry(path, data) for path, data in sorted(self.files.items())]


def _entry(path: str, data: bytes) -> dict[str, Any]:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    large = (
        {"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
        if path.endswith((".pth", ".safetensors"))
        else {}
    )
    return {"type": "file", "path": path, "size": len(data), "oid": git, **large}


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@contextmanager
def serving(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place, _, query = unquote(self.path).partition("?")
            hub.asked.append(place)
            tree, files = f"/api/models/lab/model/tree/{COMMIT}", f"/lab/model/resolve/{COMMIT}/"
            if hub.status != 200:
                self.send_error(hub.status)
            elif place.startswith(tree):
                under = place.removeprefix(tree).strip("/")
                found = [
                    e
                    for e in hub.listed()
                    if not under or not isinstance(e, dict) or str(e.get("path")).startswith(f"{under}/")
                ]
                start = int(query.rpartition("cursor=")[2]) if "cursor=" in query else 0
                more = start + hub.page < len(found)
                after = f'<{monkeypatch_hub()}{place}?recursive=true&cursor={start + hub.page}>; rel="next"'
                self._send(json.dumps(found[start : start + hub.page]).encode(), {"Link": after} if more else {})
            elif (name := place.removeprefix(files)) in hub.files:
                self._send(hub.lies.get(name, hub.files[name]), {})
            else:
                self.send_error(404)

        def _send(self, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    def monkeypatch_hub() -> str:
        return f"http://127.0.0.1:{server.server_address[1]}"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(model_download, "HUB", monkeypatch_hub())
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "shipped", tmp_path / "own")


@pytest.mark.parametrize("page", [1000, 1])
def test_all_files_of_a_repository_come_and_become_a_model(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    hub = Hub({**files_of(write_model(tmp_path / "tiny")), ".gitattributes": b"x", "README.md": b"# Tiny"}, page=page)
    with serving(hub, monkeypatch):
        (model,) = download_model(CTX, store, f"lab/model@{COMMIT}", "")
    assert (model.id, model.source) == ("tiny", f"lab/model@{COMMIT}")
    assert set(model.files) == {"model.json", "weights.safetensors", "README.md"}
    assert not list((store.own / ".downloads").iterdir())


def test_a_folder_of_a_repository_keeps_its_name(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nninteractive(tmp_path / "hub", license_text="CC BY-NC-SA 4.0\n")
    hub = Hub({**files_of(tmp_path / "hub"), "other/big.pth": b"not asked for"})
    with serving(hub, monkeypatch):
        (model,) = download_model(CTX, store, f"lab/model@{COMMIT}/nnInteractive_v1.0/", "")
    assert (model.id, model.version) == ("nninteractive", "1.0")
    assert model.card is not None
    assert model.card.license == "CC BY-NC-SA 4.0"
    assert not [place for place in hub.asked if "big.pth" in place]


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_S20_one_flipped_byte_in_any_file_refuses_all_and_the_rest_is_kept_for_the_next_time(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files = files_of(write_model(tmp_path / "tiny"))
    wrong = bytes([files[name][0] ^ 1]) + files[name][1:]
    hub = Hub(files, lies={name: wrong})
    with serving(hub, monkeypatch):
        with pytest.raises(TaskError) as caught:
            download_model(CTX, store, f"lab/model@{COMMIT}", "")
        assert caught.value.code == "E_HASH"
        assert store.models() == ()
        hub.lies.clear()
        asked = len(hub.asked)
        download_model(CTX, store, f"lab/model@{COMMIT}", "")
        assert len(hub.asked) - asked == 1 + len(files) - (name == "weights.safetensors"), (
            "what was right is not fetched twice"
        )
    assert [model.id for model in store.models()] == ["tiny"]


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "../outside"}, {"path": "/etc/passwd"}, {"path": "a//b"}, {"path": "C:\\x"}, {"path": "a/./b"},
        {"oid": "short"}, {"lfs": {"oid": "0" * 40}}, {"size": "x"}, {"type": "directory"},
    ],
)  # fmt: skip
def test_S05_a_list_that_leads_elsewhere_or_lacks_a_hash_is_refused(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any]
) -> None:
    with serving(Hub({}, entries=[{**_entry("model.json", b"{}"), **entry}]), monkeypatch):
        with pytest.raises(TaskError) as caught:
            download_model(CTX, store, f"lab/model@{COMMIT}", "")
        assert caught.value.code == "E_DOWNLOAD"
    assert not list(tmp_path.rglob("outside"))


def test_a_hub_that_says_no_or_nonsense_is_named(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for hub in (Hub({}, status=404), Hub({}, status=500), Hub({}), Hub({}, entries=["x"])):
        with serving(hub, monkeypatch), pytest.raises(TaskError) as caught:
            download_model(CTX, store, f"lab/model@{COMMIT}", "")
        assert caught.value.code == "E_DOWNLOAD"


def test_only_a_commit_stands_for_all_files(store: ModelStore) -> None:
    for address in ("lab/model@main", "lab/model", f"lab/model@{COMMIT[:12]}", "lab/model@main/folder/"):
        assert not names_repository(address)
        with pytest.raises(MedViewerError):
            download_model(CTX, store, address, "")
    with pytest.raises(InputError):
        download_model(CTX, store, f"lab/model@{COMMIT}/../x/", "")
    assert names_repository(f"lab/model@{COMMIT}")
    assert names_repository(f"lab/model@{COMMIT}/a folder/")
    assert not names_repository(f"lab/model@{COMMIT}/file.zip")
