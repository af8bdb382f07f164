"""M01, M02, M03, M11, S01 to S04: broken and hostile models are refused, and nothing of them is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medviewer.ai import torch_file
from medviewer.ai.checkpoint import load_weights
from medviewer.ai.formats import open_network, read_any_card
from medviewer.ai.model_import import import_models
from medviewer.ai.nnunet import open_nnunet
from medviewer.ai.torch_file import load_torch_file
from medviewer.ai.weights import ModelStore
from medviewer.core.errors import InputError, MedViewerError, TaskError
from medviewer.jobs.job import NullContext
from tests import hostile_models
from tests.archive_makers import HOSTILE_TARS
from tests.model_makers import write_bundle, write_model, write_nnunet

CANARY = Path("/tmp/unused")


@pytest.mark.parametrize("name", hostile_models.pickles(CANARY))
def test_S01_S02_M02_a_pickle_is_never_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    root = hostile_models.write_with_checkpoint(tmp_path, hostile_models.pickles(canary)[name])
    with pytest.raises(TaskError) as refused:
        open_nnunet(root)
    assert refused.value.code in ("E_MODEL_CODE", "E_MODEL_FILE")
    assert "checkpoint_final.pth" in refused.value.text
    assert not canary.exists()


@pytest.mark.parametrize("name", hostile_models.pickles(CANARY))
@pytest.mark.parametrize("where", ["models/model.pt", "weights.safetensors"])
def test_S01_M02_nor_under_another_name(name: str, where: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    root = write_bundle(tmp_path / "m") if where == "models/model.pt" else write_model(tmp_path / "m")
    (root / where).write_bytes(hostile_models.pickles(canary)[name])
    with pytest.raises(TaskError):
        open_network(root)
    assert not canary.exists()


@pytest.mark.parametrize("name", hostile_models.configs(CANARY))
def test_S03_M11_a_configuration_is_never_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    root = hostile_models.configs(canary)[name](tmp_path)
    with pytest.raises(TaskError) as refused:
        read_any_card(root)
    assert refused.value.code in ("E_MODEL_CODE", "E_MODEL_FILE")
    assert not canary.exists()


@pytest.mark.parametrize("name", HOSTILE_TARS)
def test_S04_an_archive_writes_nowhere_else(name: str, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "shipped", tmp_path / "inside" / "own")
    path = tmp_path / "model.tar"
    path.write_bytes(HOSTILE_TARS[name][0])
    with pytest.raises(InputError) as refused:
        import_models(NullContext(), store, path)
    assert refused.value.code in HOSTILE_TARS[name][1].split("|")
    assert store.models() == ()
    assert sorted(p.name for p in tmp_path.iterdir()) in (["model.tar"], ["inside", "model.tar"])


@pytest.mark.parametrize("name", hostile_models.headers())
def test_M02_a_header_that_lies_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(hostile_models.headers()[name])
    with pytest.raises(TaskError) as refused:
        load_weights(path)
    assert refused.value.code == "E_MODEL_FILE"


def test_M03_a_good_checkpoint_with_numbers_of_numpy_loads(tmp_path: Path) -> None:
    model = open_nnunet(write_nnunet(tmp_path))
    assert model.mirror_axes == (0, 1, 2)
    assert len(model.weights_sha256) == 64


@pytest.mark.parametrize("version", ["2.9.1", "2.5.0+cu121", "1.13.1"])
def test_S02_a_torch_that_can_be_tricked_reads_no_checkpoint(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_nnunet(tmp_path)
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(TaskError, match=r"2\.10") as refused:
        open_nnunet(root)
    assert refused.value.code == "E_TORCH_VERSION"


@pytest.mark.parametrize("share", [n / 30 for n in range(30)])
def test_M01_a_checkpoint_cut_anywhere_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"network_weights": {f"w{n}": torch.randn(50) for n in range(10)}}, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(TaskError) as refused:
        load_torch_file(path)
    assert refused.value.code == "E_MODEL_FILE"


@pytest.mark.parametrize("share", [n / 30 for n in range(30)])
def test_M01_weights_cut_anywhere_are_refused(share: float, tmp_path: Path) -> None:
    root = write_model(tmp_path / "m")
    path = root / "weights.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(TaskError) as refused:
        open_network(root)
    assert refused.value.code == "E_MODEL_FILE"


@pytest.mark.parametrize("kind", ["missing", "renamed", "another"])
def test_M01_weights_that_are_not_the_cards_are_refused(kind: str, tmp_path: Path) -> None:
    root = write_model(tmp_path / "m")
    path = root / "weights.safetensors"
    if kind == "missing":
        path.unlink()
    elif kind == "renamed":
        path.rename(root / "weights.bin")
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(MedViewerError) as refused:
        open_network(root)
    assert refused.value.code == "E_MODEL_FILE"


def test_M03_the_list_of_what_a_pickle_may_name_is_numbers_only() -> None:
    names = {
        getattr(entry[0] if isinstance(entry, tuple) else entry, "__name__", "?") for entry in torch_file._allowed()
    }
    assert names == {
        "scalar", "dtype", "encode", "Float16DType", "Float32DType", "Float64DType", "Int32DType", "Int64DType",
        "UInt8DType", "BoolDType",
    }  # fmt: skip
