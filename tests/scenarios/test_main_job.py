"""Open, analyze, jump, make a mask, correct in three planes, save, be killed, recover, export: on the real program.

`make screenshots` runs it on a finer study and keeps the pictures of the user guide (``MEDVIEWER_GUIDE_IMAGES``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

STORY = Path(__file__).with_name("story.py")
GUIDE = os.environ.get("MEDVIEWER_GUIDE_IMAGES", "")
PICTURES = {"open": "open", "analyze": "analyze", "correct": "correct", "export_nnunet": "export"}


def play(
    phase: str, study: Path | str, folder: Path, data: Path, timeout: int = 600
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MEDVIEWER_DATA_DIR": str(data), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, str(STORY), phase, str(study), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from medviewer.phantoms import write_demo_study

    return write_demo_study(
        tmp_path_factory.mktemp("study"), size=(256, 256, 128) if GUIDE else (128, 128, 80)
    ).dicom_folder


@pytest.mark.timeout(900)
def test_story_of_the_main_job(study: Path, tmp_path: Path) -> None:
    if not (os.environ.get("DISPLAY") or sys.platform in ("win32", "darwin")):
        pytest.skip("needs a display")
    data, folder = tmp_path / "data", tmp_path / "out"
    if GUIDE:
        folder = Path(tempfile.mkdtemp(prefix="medviewer-"))  # the pictures show its name
    folder.mkdir(exist_ok=True)
    first = play("work", study, folder, data)
    assert (folder / "before.json").exists(), first.stderr[-3000:]
    assert first.returncode in (-9, 9), "the first phase ends by being killed"
    before = json.loads((folder / "before.json").read_text())
    assert before["torch in the window's process"] is False
    second = play("recover", "", folder, data)
    assert second.returncode == 0, second.stderr[-3000:]
    after = json.loads((folder / "facts.json").read_text())
    assert after["state"]["masks"] == before["state"]["masks"], "only the stroke in the hand is lost"
    assert after["state"]["boxes"] == before["state"]["boxes"]
    check_exports(folder)
    assert not list((data / "journals").glob("*")), "work that is saved leaves no journal"
    for name, kept in PICTURES.items():
        picture = folder / f"{name}.png"
        assert picture.stat().st_size > 10_000
        if GUIDE:
            shutil.copy(picture, Path(GUIDE) / f"{kept}.png")


def check_exports(folder: Path) -> None:
    """Read what was exported with other programs' readers."""
    import highdicom as hd
    import nibabel
    import pydicom

    masks = {p.name: np.asarray(nibabel.load(p).dataobj) for p in folder.glob("nifti/**/*.nii.gz")}
    assert any("lung" in name.lower() for name in masks)
    (dataset,) = folder.glob("nnunet/**/dataset.json")
    labels = json.loads(dataset.read_text())["labels"]
    assert sorted(labels.values()) == list(range(len(labels)))
    segs = [pydicom.dcmread(p) for p in folder.glob("dicom-seg/**/*.dcm")]
    assert segs
    for seg in segs:
        assert hd.seg.Segmentation.from_dataset(seg).number_of_segments > 0
