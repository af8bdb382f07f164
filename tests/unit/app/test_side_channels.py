"""S18: what files say of a patient stands in the study, the chosen files, the library and the journal; nowhere else."""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medviewer.app import bootstrap
from medviewer.app.bootstrap import set_up_excepthook, set_up_logging
from medviewer.app.context import AppContext
from medviewer.app.paths import data_dir, log_file
from medviewer.core.private import keep_private, redacted
from medviewer.editing.tool import PointerEvent
from medviewer.io.archive import close_all

PLANTED = {
    "PatientName": "Zwetschgenbaum^Krimhilde=山田^太郎", "PatientID": "PID-7741-QX", "PatientBirthDate": "19431209",
    "AccessionNumber": "ACC99310077", "OtherPatientIDs": "OTHER-55120", "PatientAddress": "Quittengasse 17",
    "PatientComments": "hat Angst vor Spinnen", "ReferringPhysicianName": "Doktorvater^Egon",
    "InstitutionName": "Spital Hinterwald", "PatientTelephoneNumbers": "0664-5551234",
    "OperatorsName": "Roentgenassistentin^Olga",
}  # fmt: skip
#: What is looked for: values, and the parts of names.
STRINGS = [
    *(v for k, v in PLANTED.items() if "Name" not in k), "Zwetschgenbaum", "Krimhilde", "山田", "太郎", "Doktorvater",
    "Roentgenassistentin", "Hinterwald",
]  # fmt: skip


@pytest.fixture
def planted_study(study: Path) -> Path:
    for path in study.rglob("*"):
        if path.is_file():
            dataset = pydicom.dcmread(path)
            dataset.SpecificCharacterSet = "ISO_IR 192"
            for keyword, value in PLANTED.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)
    return study


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def logged() -> Iterator[None]:
    """Log into the data folder as the program does, and stop when the test ends."""
    root = logging.getLogger()
    before, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    set_up_logging()
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    for name in bootstrap._QUOTING:
        logging.getLogger(name).setLevel(logging.NOTSET)
    sys.excepthook, threading.excepthook = hooks


def found_in(folder: Path) -> dict[str, list[str]]:
    """Return file -> planted strings in its name or bytes, in UTF-8 or UTF-16."""
    hits = {}
    for path in folder.rglob("*"):
        data = path.name.encode("utf-8", "replace") + (path.read_bytes() if path.is_file() else b"")
        words = [s for s in STRINGS if any(s.encode(c) in data for c in ("utf-8", "utf-16-le"))]
        if words:
            hits[str(path.relative_to(folder))] = words
    return hits


def test_S18_nothing_of_a_patient_is_left_elsewhere(
    app: AppContext, pump: Any, planted_study: Path, temporary: Path, tmp_path: Path, logged: None
) -> None:
    set_up_excepthook(app)
    pump.finish(app.studies.scan([planted_study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    volume = app.workspace.active
    assert volume is not None
    assert volume.patient_name == PLANTED["PatientName"]

    # Work: a task, a stroke, a save, an export.
    (job,) = app.analyze.start(volume.id, ["tmp_air.air"])
    pump.finish(job)
    app.router.activate("brush")
    for phase in ("press", "move", "release"):
        app.router.pointer(PointerEvent(phase, tuple(float(v) for v in volume.geometry.center_lps), 2))
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    pump.finish(app.documents.save(chosen / "work.mvw"))
    for info in app.exports.formats:
        pump.finish(app.exports.start(info.id, chosen / info.id))
    pump.until(lambda: not app.jobs.running)

    # Five faults whose messages quote the patient.
    quoted = " ".join(PLANTED[k] for k in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"))

    def fail(ctx: object) -> None:
        raise ValueError(f"cannot read the images of {quoted}")

    assert pump.finish(app.jobs.submit(f"Sending {PLANTED['PatientName']}", fail, lane="io")).error is not None
    try:
        raise KeyError(PLANTED["PatientID"])
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
    thread = threading.Thread(target=lambda: fail(None))
    thread.start()
    thread.join()
    broken = next(path for path in planted_study.rglob("*") if path.is_file())
    broken.write_bytes(broken.read_bytes()[:-100])
    pump.finish(app.studies.scan([broken]))
    assert pump.finish(app.documents.open(chosen / "nifti" / "none.mvw")).error is not None
    # What libraries say of values that the program itself never reads.
    for library in ("pydicom", "pynetdicom.acse", "highdicom"):
        logging.getLogger(library).error("Invalid value %r", PLANTED["PatientAddress"])
    logging.getLogger("medviewer").error("Somebody logs %s", PLANTED["PatientBirthDate"])
    app.settings.save()
    for handler in logging.getLogger().handlers:
        handler.flush()

    assert "[patient]" in log_file().read_text(encoding="utf-8"), "the faults were logged"
    hits = found_in(data_dir())
    allowed = {name for name in hits if name.startswith(("library.sqlite", "journals"))}
    assert set(hits) <= allowed, hits
    if os.name != "nt":
        assert all(stat.S_IMODE((data_dir() / name).stat().st_mode) == 0o600 for name in allowed)
        assert stat.S_IMODE((data_dir() / "settings.toml").stat().st_mode) == 0o600
    close_all()
    assert found_in(temporary) == {}


def test_S18_closing_leaves_no_journal(app: AppContext, pump: Any, planted_study: Path) -> None:
    pump.finish(app.studies.scan([planted_study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    app.documents.clear()
    assert {name for name in found_in(data_dir()) if "library" not in name} == set()


@pytest.mark.parametrize("text", ["Zwetschgenbaum, Krimhilde", "id=PID-7741-QX;", "太郎", "Zwetschgenbaum^Krimhilde"])
def test_S18_known_values_are_taken_out_of_texts(text: str) -> None:
    keep_private(PLANTED["PatientName"], PLANTED["PatientID"], "Q", "")
    keep_private("太郎の父")
    cleaned = redacted(f"Failed: {text} ({text})")
    assert "Failed: " in cleaned
    assert not [word for word in ("Zwetschgenbaum", "Krimhilde", "PID-7741") if word in cleaned]


def test_S18_settings_survive_a_folder_whose_name_is_no_text(app: AppContext, tmp_path: Path) -> None:
    from medviewer.app.paths import settings_file
    from medviewer.app.settings import Settings

    app.settings.add_recent(Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe")))
    app.settings.add_recent(tmp_path / "Zürich")
    app.settings.overlay_opacity = 0.25
    app.settings.save()
    again = Settings.load(settings_file())
    assert again.overlay_opacity == 0.25
    assert again.recent[0].endswith("Zürich")


def test_the_search_of_this_test_finds_what_is_planted(tmp_path: Path, make_noise: Callable[[], bytes]) -> None:
    (tmp_path / "a").write_bytes(make_noise() + "山田".encode("utf-16-le"))
    (tmp_path / "Hinterwald").mkdir()
    assert set(found_in(tmp_path)) == {"a", "Hinterwald"}


@pytest.fixture
def make_noise() -> Callable[[], bytes]:
    return lambda: np.random.default_rng(18).bytes(1000)
