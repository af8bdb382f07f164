"""The models in the real program: their list, the plan, and real studies from double click to results.

`make screenshots` keeps the pictures for the user guide (``MEDVIEWER_GUIDE_IMAGES``).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.scenarios.test_main_job import GUIDE, play


@pytest.fixture(autouse=True)
def display() -> None:
    if not (os.environ.get("DISPLAY") or sys.platform in ("win32", "darwin")):
        pytest.skip("needs a display")


def told(phase: str, study: Path, folder: Path, data: Path) -> dict[str, object]:
    """Play a phase; return its facts."""
    folder.mkdir(exist_ok=True)
    done = play(phase, study, folder, data, timeout=1700)
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, object] = json.loads((folder / "facts.json").read_text())
    return facts


def keep(picture: Path, name: str) -> None:
    assert picture.stat().st_size > 10_000
    if GUIDE:
        shutil.copy(picture, Path(GUIDE) / f"{name}.png")


@pytest.mark.timeout(900)
def test_every_shipped_model_is_listed_and_planned(tmp_path: Path) -> None:
    from medviewer.ai.weights import ModelStore
    from medviewer.phantoms import write_demo_study

    study = write_demo_study(tmp_path / "study", size=(96, 96, 64)).dicom_folder
    facts = told("models", study, tmp_path / "out", tmp_path / "data")
    cards = [model.card for model in ModelStore().models()]
    assert None not in cards, "what ships can be used"
    listed = {lines[0] for lines in facts["models"]}  # type: ignore[attr-defined]
    assert {card.title for card in cards if card is not None} <= listed
    keep(tmp_path / "out" / "models.png", "models")
    keep(tmp_path / "out" / "plan.png", "plan")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("study", ["chest_ct_LIDC-IDRI-0001", "brain_mr_4series_PGBM-003"])
def test_a_real_study_from_double_click_to_results(
    shared_data: Path, tmp_path: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDVIEWER_STEP_TIMEOUT", "1500")
    facts = told("real", shared_data / "dicom" / f"{study}.zip", tmp_path / "out", tmp_path / "data")
    print(study, facts)
    assert facts["errors"] == []
    assert facts["segments"]
    keep(tmp_path / "out" / "results.png", f"results_{study.partition('_')[0]}")
