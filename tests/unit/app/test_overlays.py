"""A dose over the CT it was planned on, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.context import AppContext
from medviewer.core.dicom_ref import SeriesRef
from tests.dicom_makers import pixels, write_dose, write_slice


def write_ct(folder: Path, **elements: Any) -> None:
    for n in range(4):
        own = {"InstanceNumber": n + 1, **elements}
        write_slice(folder / f"{elements.get('SeriesInstanceUID', 'ct')}_{n}.dcm", pixels(n), (0, 0, 2.0 * n), **own)


@pytest.fixture
def opened(make_app: Callable[[], AppContext], pump: Any, tmp_path: Path) -> Callable[..., AppContext]:
    """Return an application in which a folder has been scanned."""

    def make(*, image: bool = True) -> AppContext:
        app = make_app()
        pump.finish(app.studies.scan([tmp_path], open_best=image))
        if image:
            pump.until(lambda: app.workspace.active is not None and not app.loading)
        return app

    return make


def listed(app: AppContext, kind: str) -> SeriesRef:
    (series,) = [s for study in app.studies.studies for s in study.series if s.kind == kind]
    return series


def test_a_dose_is_laid_over_its_ct(opened: Callable[..., AppContext], pump: Any, tmp_path: Path) -> None:
    write_ct(tmp_path)
    write_dose(tmp_path / "dose.dcm")
    app = opened()
    assert app.workspace.active is not None
    assert app.workspace.active.modality == "CT", "the dose is not what is opened first"
    app.overlays.open(listed(app, "rtdose"))
    pump.until(lambda: app.workspace.overlay is not None)
    overlay = app.workspace.overlay
    assert overlay is not None
    assert (overlay.volume.unit, overlay.volume.geometry.size) == ("Gy", (8, 6, 3))
    assert [volume.modality for volume in app.workspace.volumes] == ["CT"]


def test_its_ct_is_opened_first(opened: Callable[..., AppContext], pump: Any, tmp_path: Path) -> None:
    write_ct(tmp_path)
    write_dose(tmp_path / "dose.dcm")
    app = opened(image=False)
    app.overlays.open(listed(app, "rtdose"))
    pump.until(lambda: app.workspace.overlay is not None)
    assert app.workspace.active is not None
    assert app.workspace.active.modality == "CT"


def test_a_dose_without_an_image_opens_by_itself(opened: Callable[..., AppContext], pump: Any, tmp_path: Path) -> None:
    write_dose(tmp_path / "dose.dcm")
    app = opened(image=False)
    app.overlays.open(listed(app, "rtdose"))
    pump.until(lambda: app.workspace.active is not None and not app.loading)
    assert app.workspace.active is not None
    assert app.workspace.active.unit == "Gy"
    assert app.workspace.overlay is None


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"FrameOfReferenceUID": "1.9.9"}, "E_OTHER_FRAME"),
        ({"FrameOfReferenceUID": None}, "E_OTHER_FRAME"),
        ({"PatientID": "4711", "StudyInstanceUID": "1.9.8"}, "E_WRONG_PATIENT"),
    ],
)
def test_what_belongs_elsewhere_is_refused_by_name(
    opened: Callable[..., AppContext], pump: Any, tmp_path: Path, elements: dict[str, Any], code: str
) -> None:
    write_ct(tmp_path)
    write_dose(tmp_path / "dose.dcm", **elements)
    app = opened()
    assert app.workspace.active is not None
    pump.finish(app.overlays.lay(listed(app, "rtdose"), app.workspace.active.id))
    assert app.workspace.overlay is None
    assert app.messages.messages[-1].details == code
    assert app.messages.messages[-1].hint
