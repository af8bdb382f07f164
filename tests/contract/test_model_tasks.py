"""Every model that ships: its card says what it must, and its task keeps the contract on a small made input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, read_card
from medviewer.ai.model_import import verify_files
from medviewer.ai.weights import ModelStore
from medviewer.api import BoxResult, FindingResult, LabelResult, NullContext, Prompt, Region, Volume, VolumeResult
from medviewer.app.run_tasks import cannot
from medviewer.core.geometry import Geometry
from medviewer.phantoms import make_brain, spheres_volume
from medviewer.plugin_host import run_session, run_task
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_session import SessionAnswer, SessionPayload
from medviewer.plugin_host.run_task import RunPayload
from tests.conftest import ROOT

MODELS = sorted(path.parent for path in (ROOT / "resources" / "models").glob(f"*/{CARD_NAME}"))
#: What a task of each kind may return, at least one of the first.
RESULTS = {
    "segmentation": (LabelResult, VolumeResult),
    "detection": (BoxResult, LabelResult),
    "classification": (FindingResult,),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> PluginRegistry:
    made = PluginRegistry()
    made.discover([ROOT / "plugins"], ModelStore(ROOT / "resources" / "models", tmp_path_factory.mktemp("own")))
    return made


def image_for(folder: Path) -> Volume:
    """Return a small image of the kind that a model is made for; what is in it does not matter here."""
    card = read_card(folder)
    noise = np.random.default_rng(0)
    if len(card.window) == 2:
        picture = noise.integers(0, 255, (1, 96, 80)).astype(np.uint8)
        geometry = Geometry((80, 96, 1), (1.0, 1.0, 1.0))
        return Volume(picture, geometry, stacking="number", in_patient=False, in_mm=False)
    if card.runner == "hippocampus":
        crop = noise.normal(100, 20, (30, 42, 32)).astype(np.float32)
        return Volume(crop, Geometry((32, 42, 30), (1.0, 1.0, 1.0)), modality="MR")
    return make_brain((72, 72, 56), seed=0).volume if "MR" in card.modalities else spheres_volume().volume


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_card_says_what_it_must(folder: Path) -> None:
    card = read_card(folder)
    assert card.id == folder.name
    for said in (card.version, card.title, card.description, card.license, card.credit, card.data, card.intended_use):
        assert said
        assert said != "unknown"
    assert "medical device" in card.intended_use
    assert card.training["command"]
    assert card.metrics
    assert card.failures
    assert len(card.weights_sha256) == 64
    assert (folder / WEIGHTS_NAME).stat().st_size <= 12e6
    verify_files(ModelStore(folder.parent, folder / "none").find(card.id))


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_task_runs_on_a_small_image_of_its_kind(folder: Path, registry: PluginRegistry) -> None:
    source = registry.source(folder.name)
    assert not registry.task(folder.name).reaches
    volume = image_for(folder)
    assert not cannot(source.info, volume)
    if source.info.kind == "interactive":
        _answers(registry, folder.name, volume)
        return
    name = next(iter(source.info.inputs))
    output = run_task.run(NullContext(), RunPayload.of(source, {name: volume}))
    assert any(isinstance(result, RESULTS[source.info.kind][0]) for result in output.results)
    for result in output.results:
        assert isinstance(result, RESULTS[source.info.kind])
        if isinstance(result, LabelResult):
            assert result.geometry.is_close(volume.geometry)
            assert {segment.value for segment in result.segments} >= set(np.unique(result.labels).tolist()) - {0}
    made = output.provenance
    assert (made.model, made.model_version) == (folder.name, read_card(folder).version)
    assert made.weights_sha256 == read_card(folder).weights_sha256


def _answers(registry: PluginRegistry, task_id: str, volume: Volume) -> None:
    """Check a click, a click away and the way back."""
    middle = volume.geometry.index_to_lps([n // 2 for n in volume.geometry.size])
    inside = Prompt(kind="point", positive=True, points=(tuple(float(x) for x in middle),))  # type: ignore[arg-type]
    outside = Prompt(kind="point", positive=False, points=(spheres_volume().nodules[0].lps,))
    shown: tuple[Prompt, ...] = ()
    for wanted in ((inside,), (inside, outside), ()):
        answer = run_session.answer(
            NullContext(),
            SessionPayload(key="contract", source=registry.source(task_id), shown=shown, wanted=wanted, volume=volume),
        )
        assert isinstance(answer, SessionAnswer)
        assert answer.region == answer.region.clip(Region.whole(volume.array.shape))
        assert answer.before.shape == answer.after.shape == answer.region.shape
        assert answer.provenance.model == task_id
        shown = wanted
    assert not answer.after.any()
    run_session.close(NullContext(), "contract")
