"""The list of segments: status, codes, instances and presets, each one named step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Segmentation
from medviewer.core.terminology import CodedConcept
from medviewer.core.volume import Volume
from medviewer.io.presets import Preset, all_presets
from medviewer.io.terminology import Term

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0))
METASTASIS = Term(name="metastasis", color=(1, 2, 3), type=CodedConcept("14799000", "SCT", "Neoplasm, Secondary"))


@pytest.fixture
def segmentation(app: AppContext) -> Segmentation:
    app.workspace.add_volume(Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT", id="v"))
    app.workspace.activate("v")
    return app.workspace.segmentation("v")


def names(segmentation: Segmentation) -> list[str]:
    return [segment.name for segment in segmentation.segments]


def test_status_and_codes_are_steps(app: AppContext, segmentation: Segmentation) -> None:
    value = app.segments.add("v").value
    app.segments.set_status("v", value, "flagged")
    app.segments.set_status("v", value, "flagged")
    app.segments.describe("v", value, METASTASIS)
    segment = segmentation.segment(value)
    assert (segment.name, segment.color, segment.status) == ("metastasis", (1, 2, 3), "flagged")
    assert segment.type.code_value == "14799000"
    assert [step.label for step in app.history.done][1:] == ["Segment 1: flagged", "Describe Segment 1"]
    app.undo()
    app.undo()
    assert segmentation.segment(value).status == "in progress"


def test_instances_are_numbered_and_stand_together(app: AppContext, segmentation: Segmentation) -> None:
    first = app.segments.add("v").value
    app.segments.describe("v", first, METASTASIS)
    app.segments.add("v", "liver")
    second = app.segments.new_instance("v", first)
    third = app.segments.new_instance("v", first)
    assert names(segmentation) == ["metastasis 1", "metastasis 2", "metastasis 3", "liver"]
    assert segmentation.active == third.value
    assert {s.label for s in segmentation.segments} == {"metastasis", "liver"}
    assert second.type == third.type == METASTASIS.type
    app.segments.rename("v", second.value, "the big one")
    assert app.segments.new_instance("v", first).name == "metastasis 4"
    for _ in range(4):
        app.undo()
    assert names(segmentation) == ["metastasis", "liver"]


def test_a_preset_makes_its_segments_with_its_values_in_one_step(app: AppContext, segmentation: Segmentation) -> None:
    preset = next(preset for preset in all_presets() if preset.name.startswith("Kidney"))
    assert app.segments.add_preset("v", preset) == 3
    assert [(s.value, s.name) for s in segmentation.segments] == [(1, "kidney"), (2, "tumour"), (3, "cyst")]
    assert segmentation.segment(3).region == CodedConcept("64033007", "SCT", "Kidney")
    assert len(app.history.done) == 1
    assert app.segments.add_preset("v", preset) == 0, "they are there"
    assert len(app.history.done) == 1
    app.undo()
    assert not segmentation.segments


def test_a_preset_never_gives_a_taken_value_another_meaning(app: AppContext, segmentation: Segmentation) -> None:
    app.segments.add("v", "spleen")
    with pytest.raises(MedViewerError, match="label value 1"):
        app.segments.add_preset("v", Preset("Liver", {1: Term(name="liver"), 2: Term(name="tumour")}))
    assert names(segmentation) == ["spleen"]


def test_what_is_there_can_be_kept_as_a_preset(
    app: AppContext, segmentation: Segmentation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path))
    with pytest.raises(MedViewerError):
        app.segments.save_preset("v", "Mine")
    first = app.segments.add("v")
    app.segments.describe("v", first.value, METASTASIS)
    app.segments.new_instance("v", first.value)
    app.segments.add("v", "liver")
    app.segments.save_preset("v", "My work ä/ö")
    kept = next(preset for preset in all_presets() if preset.name == "My work ä/ö")
    assert kept.vocabulary == {"metastasis": 1, "liver": 3}
    assert kept.terms[1].type == METASTASIS.type
