from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.annotation import Box3D
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import Segment
from medviewer.core.terminology import MORPHOLOGICALLY_ALTERED_STRUCTURE, CodedConcept
from medviewer.core.workspace import Workspace
from medviewer.export.case import Case, cases_of
from tests.f_phantom import grid, letter_f, make_series

RUN = Provenance(
    task="ct_anatomy.lungs", version="1.2", weights_sha256="ab" * 32, parameters={"upper": -400.0},
    input_uids=("1.2.3",), software={"torch": "2.13"}, device="cpu", started="2026-01-02T03:04:05+00:00", seconds=1.5,
)  # fmt: skip
METASTASIS = CodedConcept("14799000", "SCT", "Neoplasm, Secondary")
KIDNEY, LEFT = CodedConcept("64033007", "SCT", "Kidney"), CodedConcept("7771000", "SCT", "Left")


def fill(workspace: Workspace, volume_id: str, *, overlap: bool) -> None:
    """Add three segments: an F, a block and one voxel; the block lies over the F when they are to overlap."""
    segmentation = workspace.segmentation(volume_id)
    first = segmentation.new_group("first")
    first.labels[letter_f()] = 1
    first.labels[6, 8, 10] = 3
    segmentation.put_group(first)
    second = segmentation.new_group("second")
    block = np.s_[2:5, 1:5, 1:4] if overlap else np.s_[5:7, 0:2, 0:2]
    second.labels[block] = 2
    segmentation.put_group(second)
    segmentation.put_segment(Segment(1, "Lunge „ä“", (255, 0, 0), provenance=RUN, edited=True))
    terms = {"category": MORPHOLOGICALLY_ALTERED_STRUCTURE, "type": METASTASIS, "region": KIDNEY}
    segmentation.put_segment(Segment(2, "Tumour", (0, 255, 0), group=1, region_modifier=LEFT, **terms))
    segmentation.put_segment(Segment(3, "One voxel", (0, 0, 255), type=KIDNEY, type_modifier=LEFT))


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """Return the phantom as a case: ``make_case(orientation, overlap=True)``."""

    def make(orientation: str = "oblique", *, overlap: bool = True, uid: str = "1.2.3") -> Case:
        workspace = Workspace()
        volume = make_series(tmp_path / f"series_{uid}", grid(orientation), uid=uid)
        workspace.add_volume(volume)
        fill(workspace, volume.id, overlap=overlap)
        workspace.set_boxes(volume.id, [Box3D(lower=(0, 0, 0), upper=(1, 1, 1), label="nodule", score=0.5)])
        workspace.add_run(RUN)
        (case,) = cases_of(workspace)
        return case

    return make
