from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medviewer.ai.card import CARD_NAME
from medviewer.ai.formats import format_of, open_network, read_any_card
from medviewer.ai.models import open_model
from medviewer.ai.predictor import predict
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from tests.model_makers import write_model, write_onnx, write_torchscript

WRITERS = {"onnx": write_onnx, "torchscript": write_torchscript}


def volume() -> Volume:
    array = np.random.default_rng(0).normal(size=(20, 24, 22)).astype(np.float32)
    return Volume(array, Geometry((22, 24, 20), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0)), "case", modality="CT")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_network_in_a_file_gives_the_answer_of_the_same_network_as_a_medviewer_model(
    kind: str, tmp_path: Path
) -> None:
    own = write_model(tmp_path / "own")
    other = WRITERS[kind](tmp_path / "other", own)
    assert format_of(other) == kind
    assert read_any_card(other).title == "Tiny"
    expected = predict(NullContext(), open_model(own), volume())
    found = predict(NullContext(), open_model(other), volume())
    assert len(np.unique(expected.labels)) > 1
    assert np.mean(found.labels == expected.labels) > 0.999
    assert len(open_network(other)[2]) == 64


@pytest.mark.parametrize("kind", WRITERS)
def test_without_a_card_nobody_knows_what_it_takes(kind: str, tmp_path: Path) -> None:
    other = WRITERS[kind](tmp_path / "other", write_model(tmp_path / "own"))
    (other / CARD_NAME).unlink()
    with pytest.raises(TaskError, match=CARD_NAME) as refused:
        read_any_card(other)
    assert refused.value.code == "E_MODEL_FILE"


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_M01_a_cut_network_is_refused(kind: str, share: float, tmp_path: Path) -> None:
    other = WRITERS[kind](tmp_path / "other", write_model(tmp_path / "own"))
    path = next(p for p in other.iterdir() if p.suffix in (".onnx", ".ts"))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(TaskError) as refused:
        open_network(other)
    assert refused.value.code in ("E_MODEL_FILE", "E_MODEL_FORMAT")


class Writes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file("canary", True, 4)


def test_M02_a_program_that_reaches_for_files_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_torchscript(tmp_path / "other", write_model(tmp_path / "own"), torch.jit.script(Writes()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match="from_file") as refused:
        open_network(other)
    assert refused.value.code == "E_MODEL_CODE"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.bin", "a/b.bin", "..\\secret.bin"])
def test_M02_numbers_outside_the_folder_are_not_read(name: str, tmp_path: Path) -> None:
    other = write_onnx(tmp_path / "other", write_model(tmp_path / "own"), elsewhere=name)
    with pytest.raises(TaskError, match="outside its folder") as refused:
        open_network(other)
    assert refused.value.code == "E_MODEL_CODE"
