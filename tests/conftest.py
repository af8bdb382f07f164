"""Shared fixtures: fresh settings, no network, real data by name."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A law is no benchmark: how long an example takes says nothing on a loaded machine. And a run that anybody can repeat
# is worth more than one that looks elsewhere each time.
settings.register_profile("medviewer", deadline=None, derandomize=True)
settings.load_profile("medviewer")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images beside the project; a test that needs it is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not at hand: {folder.name}")
    return folder


@pytest.fixture(autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder for settings, journals and user plugins; nothing of the person who runs the tests is touched."""
    folder = tmp_path_factory.mktemp("data_dir")
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else ""
            if host not in ("127.0.0.1", "::1", "localhost"):
                pytest.fail(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def opened_files() -> Iterator[list[Path]]:
    """Every file that this process opens from now on, by whatever way."""
    found: list[Path] = []
    watching = True

    def watch(event: str, args: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            found.append(Path(os.fsdecode(args[0])))

    # A hook stays for as long as the process runs.
    sys.addaudithook(watch)
    yield found
    watching = False


PLUGIN_SCRIPT = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy"]
# [tool.medviewer]
# id = "{name}"
# version = "0.1.0"
# api = 1
# [[tool.medviewer.task]]
# id = "{name}.air"
# title = "Air"
# kind = "segmentation"
# entry = "{name}:Air"
# inputs = {{ image = "volume" }}
# modalities = ["CT"]
# lane = "cpu"
# ///
"""A plugin of the tests."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from medviewer.api import Doc, Input, JobContext, LabelResult, Range, Readiness, Result, Segment, Unit, Volume


@dataclass(frozen=True, slots=True)
class AirParams:
    upper: Annotated[float, Range(-1000, 0, 10), Unit("HU"), Doc("Highest value of air.")] = -400.0


class Air:
    def check(self) -> Readiness:
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: AirParams) -> Sequence[Result]:
        image = inputs["image"]
        assert isinstance(image, Volume)
        ctx.progress(0.5, "Thresholding")
        labels = (image.array < params.upper).astype(np.uint16)
        ctx.progress(1.0)
        return [LabelResult("Air", labels, image.geometry, (Segment(1, "Air"),))]
'''


@pytest.fixture
def tmp_plugin(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Write a one-file plugin; ``tmp_plugin(name, old=new, ...)`` changes its text. Returns the script's path."""
    folder = tmp_path / "plugins"

    def write(name: str = "tmp_air", *changes: tuple[str, str]) -> Path:
        text = PLUGIN_SCRIPT.format(name=name)
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return path

    import sys

    paths, modules = list(sys.path), set(sys.modules)
    yield write
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(folder):
            del sys.modules[name]
