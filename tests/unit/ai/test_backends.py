"""What computes a network, and what is kept of that on this machine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from medviewer.ai import backends, speeds
from medviewer.ai.backends import OpenVinoBackend, TorchBackend, choose_backend
from medviewer.ai.card import ModelCard
from medviewer.ai.models import Model, ModelCache
from medviewer.ai.networks import build_network
from medviewer.ai.speeds import Speed
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()
ARGUMENTS = {"in_channels": 1, "out_channels": 3, "features": [4, 8]}
CARD = ModelCard(id="m", version="1", title="M", network="unet", arguments=ARGUMENTS)
SAMPLE = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path))
    return tmp_path


def network() -> nn.Module:
    torch.manual_seed(3)
    return build_network("unet", ARGUMENTS).eval()


def model(sha: str = "ab" * 32) -> Model:
    return Model(CARD, network(), sha)


def eager(made: Model) -> torch.Tensor:
    with torch.inference_mode():
        return made.network(SAMPLE)


@needs_openvino
def test_openvino_gives_what_torch_gives_from_the_cache_too(tmp_path: Path) -> None:
    made = model()
    for _ in range(2):
        found = OpenVinoBackend(made.network, SAMPLE, tmp_path / "n" / "x.xml")(CTX, SAMPLE)
        torch.testing.assert_close(found, eager(made), rtol=1e-3, atol=1e-3)
    assert (tmp_path / "n" / "x.bin").is_file()


@needs_openvino
def test_openvino_reports_to_nobody() -> None:
    """Its package sends an event from every import unless it is kept from it."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from medviewer.ai.backends import load_openvino\n"
        "load_openvino().Core()\n"
        "loaded = [m for m in sys.modules if m.startswith('openvino_telemetry') and sys.modules[m]]\n"
        "sys.exit(str(loaded) if loaded else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_exact_is_torch_in_single_precision_whatever_was_measured() -> None:
    made = model()
    speeds.remember(speeds.key_of(made.weights_sha256, (16, 16, 16), "cpu"), Speed("openvino", 0.1))
    backend = choose_backend(CTX, made, SAMPLE, worth=True, exact=True)
    assert (backend.name, backend.precision) == ("torch", "f32")
    assert torch.equal(backend(CTX, SAMPLE), eager(made))


def test_a_short_run_is_not_measured() -> None:
    assert choose_backend(CTX, model(), SAMPLE, worth=False, exact=False).name == "torch"
    assert speeds.remembered(speeds.key_of("ab" * 32, (16, 16, 16), "cpu")) is None


def test_the_choice_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    first = choose_backend(CTX, made, SAMPLE, worth=True, exact=False)
    torch.testing.assert_close(first(CTX, SAMPLE).clone(), eager(made), rtol=1e-3, atol=1e-3)
    kept = speeds.remembered(speeds.key_of(made.weights_sha256, (16, 16, 16), "cpu"))
    assert kept is not None
    monkeypatch.setattr(backends, "_fastest", lambda *_: pytest.fail("measured twice"))
    assert choose_backend(CTX, made, SAMPLE, worth=True, exact=False).name == kept.backend.split()[0]


def test_without_openvino_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    made = model()
    speeds.remember(speeds.key_of(made.weights_sha256, (16, 16, 16), "cpu"), Speed("openvino", 0.1))
    monkeypatch.setattr(backends, "_cache_path", lambda *_: None)
    assert choose_backend(CTX, made, SAMPLE, worth=True, exact=False).name == "torch"


def test_a_back_end_that_answers_otherwise_is_not_taken() -> None:
    class Wrong(TorchBackend):
        def __call__(self, ctx, x):
            return -super().__call__(ctx, x)

    makers = {
        "torch": lambda: TorchBackend(network(), "cpu", half=False),
        "wrong": lambda: Wrong(network(), "cpu", half=False),
    }
    _, speed = backends._fastest(CTX, makers, SAMPLE, CARD)
    assert speed.backend == "torch"


class Cancelled(NullContext):
    """Cancelled from the n-th question on."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def check_cancelled(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise JobCancelled


def test_torch_notices_a_cancel_between_layers() -> None:
    made = model()
    backend = TorchBackend(made.network, "cpu", half=False)
    with pytest.raises(JobCancelled):
        backend(Cancelled(3), SAMPLE)
    assert torch.equal(backend(CTX, SAMPLE), eager(made))


@needs_openvino
def test_openvino_is_stopped_inside_a_window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = model()
    big = torch.randn(1, 1, 96, 96, 96)
    backend = OpenVinoBackend(made.network, big, None)
    monkeypatch.setattr(backends, "_WAIT_MS", 1)
    with pytest.raises(JobCancelled):
        backend(Cancelled(0), big)
    assert backend(CTX, big).shape == (1, 3, 96, 96, 96)


def test_what_was_measured_survives_a_damaged_file(own_folder: Path) -> None:
    path = own_folder / "cache" / speeds.FILE_NAME
    path.parent.mkdir()
    path.write_text("{ not json", encoding="utf-8")
    assert speeds.remembered("x") is None
    speeds.remember("x", Speed("torch", 0.5))
    assert speeds.remembered("x") == Speed("torch", 0.5)


def test_warm_models_are_dropped_by_bytes_the_oldest_first(tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(folder: Path) -> Model:
        loaded.append(folder.name)
        return model()

    cache = ModelCache(int(2.5 * model().nbytes))
    a, b, c = (tmp_path / name for name in "abc")
    for folder in (a, b, a, c, a, b):
        cache.get(folder, load)
    assert loaded == ["a", "b", "c", "b"]
    assert len(cache) == 2


def test_a_model_whose_files_changed_is_loaded_anew(tmp_path: Path) -> None:
    cache, loads = ModelCache(), []

    def load(folder: Path) -> Model:
        loads.append(folder)
        return model()

    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    cache.get(tmp_path, load)
    cache.get(tmp_path, load)
    (tmp_path / "model.json").write_text("{ }", encoding="utf-8")
    cache.get(tmp_path, load)
    assert len(loads) == 2


def test_threads_do_not_share_hooks() -> None:
    """Two runs of one network at a time, each with its own cancel."""
    backend = TorchBackend(network(), "cpu", half=False)
    results: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda: results.append(backend(CTX, SAMPLE).clone())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(results[0], results[1])
