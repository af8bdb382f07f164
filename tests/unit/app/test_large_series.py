"""A series that is too large for the memory: a part of it is offered and opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.context import AppContext
from medviewer.io import native_pixels
from tests.dicom_makers import SHAPE, write_many


@pytest.mark.parametrize("answer", [0, 1, None])
def test_G29_a_part_is_offered(
    app: AppContext, pump: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int | None
) -> None:
    write_many(tmp_path / "images", 1, 9)
    pump.finish(app.studies.scan([tmp_path / "images"]))
    asked: list[tuple[str, Sequence[str]]] = []

    def ask(text: str, choices: Sequence[str]) -> int | None:
        asked.append((text, choices))
        return answer

    app.studies.ask_part = ask
    monkeypatch.setattr(native_pixels, "memory_budget", lambda: 3 * SHAPE[0] * SHAPE[1] * 2)
    job = app.studies.open_series(app.studies.studies[0].series[0])
    pump.finish(job)
    ((text, choices),) = asked
    assert "GB" in text
    assert ["3 of 9" in choice for choice in choices] == [True] * 4
    if answer is None:
        assert app.workspace.volumes == ()
        assert app.messages.messages[-1].details == "E_MEMORY"
        return
    pump.until(lambda: bool(app.workspace.volumes) and not app.loading)
    (volume,) = app.workspace.volumes
    assert volume.geometry.spacing[2] == (6.0, 2.0)[answer]
    assert "W_PART" in {warning.code for warning in volume.warnings}
