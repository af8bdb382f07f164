"""The library as a use case: everything that is opened is listed, and opens again without a scan."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.catalogue import Query
from medviewer.app.context import AppContext
from medviewer.app.paths import data_dir, library_file, studies_dir
from medviewer.core.volume import Volume
from medviewer.io import dicom_scan
from medviewer.io.catalogue_rows import Filters, Page, SeriesRow
from medviewer.phantoms import write_series
from medviewer.phantoms.model import Phantom


@pytest.fixture
def folder(tmp_path: Path, phantom: Phantom) -> Path:
    write_series(phantom, tmp_path / "in" / "study")
    return tmp_path / "in" / "study"


class Look:
    """What a window would see."""

    def __init__(self, app: AppContext, pump: Any) -> None:
        self.app, self.pump = app, pump
        self.pages: list[Page] = []
        app.library.found.connect(self._found)

    def _found(self, query: Query, page: Page) -> None:
        self.pages.append(page)

    def idle(self) -> None:
        self.pump.until(lambda: not self.app.jobs.running)

    def page(self, text: str = "", **filters: str) -> Page:
        self.idle()
        self.pages.clear()
        self.app.library.search(Query(text=text, filters=Filters(**filters)))
        self.pump.until(lambda: bool(self.pages))
        return self.pages[-1]

    def series(self, study_id: int) -> tuple[SeriesRow, ...]:
        got: list[tuple[SeriesRow, ...]] = []
        self.app.library.series(study_id, got.append)
        self.pump.until(lambda: bool(got))
        self.idle()
        return got[0]


@pytest.fixture
def look(app: AppContext, pump: Any) -> Look:
    return Look(app, pump)


def scan(app: AppContext, pump: Any, path: Path, best: bool = False) -> None:
    pump.finish(app.studies.scan([path], open_best=best))
    pump.until(lambda: not app.jobs.running)


def test_nothing_is_made_before_the_first_study(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    assert not library_file().exists()
    scan(app, pump, folder)
    assert library_file().exists()
    assert not any("library" in job.title for job in app.jobs.jobs), "quiet work leaves no trace in the list"


def test_what_is_opened_is_listed_with_its_picture(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    scan(app, pump, folder)
    (row,) = look.page().rows
    assert row.status == "new"
    assert look.page(app.studies.studies[0].patient_name.split("^")[0][:3]).total == 1
    made: list[int] = []
    app.library.thumbnail_made.connect(lambda series_id, png: made.append(series_id))
    (series,) = look.series(row.id)
    assert made == [series.id]
    (series,) = look.series(row.id)
    assert series.thumbnail is not None
    assert series.thumbnail.startswith(b"\x89PNG")
    assert app.studies.open_series(series.series) is not None
    look.idle()
    assert look.page().rows[0].status == "opened"
    assert made[-1] == series.id


def test_it_opens_again_without_a_scan(
    make_app: Callable[[], AppContext], pump: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_app()
    scan(first, pump, folder)
    studies = first.studies.studies
    first.close()
    app = make_app()
    look = Look(app, pump)

    def no_scan(*_: object, **__: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr(dicom_scan, "scan", no_scan)
    pump.finish(app.library.open(look.page().rows[0].id))
    look.idle()
    assert app.studies.studies == studies
    assert app.workspace.active is not None
    assert app.studies.sources(app.workspace.active) == (folder,)


def test_a_moved_folder_is_greyed_found_and_opened(
    app: AppContext, pump: Any, look: Look, folder: Path, tmp_path: Path
) -> None:
    scan(app, pump, folder)
    (row,) = look.page().rows
    folder.parent.rename(tmp_path / "moved")
    app.library.check([row])
    (row,) = look.page().rows
    assert row.missing
    job = pump.finish(app.library.open(row.id))
    assert getattr(job.error, "code", "") == "E_MISSING_FILES"
    job = pump.finish(app.library.relocate(row.id, tmp_path / "nowhere"))
    assert getattr(job.error, "code", "") == "E_NOT_FOUND"
    assert pump.finish(app.library.relocate(row.id, tmp_path / "moved")).error is None
    assert not look.page().rows[0].missing
    pump.finish(app.library.open(row.id))
    look.idle()
    assert app.workspace.active is not None


def test_an_archive_is_unpacked_again(
    make_app: Callable[[], AppContext], pump: Any, folder: Path, tmp_path: Path
) -> None:
    from medviewer.io.archive import close_all

    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    first = make_app()
    scan(first, pump, path)
    first.close()
    close_all()
    app = make_app()
    look = Look(app, pump)
    (row,) = look.page().rows
    app.library.check([row])
    assert not look.page().rows[0].missing
    pump.finish(app.library.open(row.id))
    look.idle()
    assert app.workspace.active is not None
    path.unlink()
    app.library.check([row])
    assert look.page().rows[0].missing
    close_all()


def test_other_images_under_the_same_names_are_scanned(
    app: AppContext, pump: Any, look: Look, folder: Path, phantom: Phantom
) -> None:
    scan(app, pump, folder)
    (row,) = look.page().rows
    write_series(phantom, folder, seed=5)
    pump.finish(app.library.open(row.id))
    look.idle()
    assert app.workspace.active is not None
    assert app.workspace.active.series is not None
    assert app.workspace.active.series.study_instance_uid != row.study_instance_uid


def test_opening_one_series_reads_no_other(
    app: AppContext, pump: Any, look: Look, tmp_path: Path, phantom: Phantom, opened_files: list[Path]
) -> None:
    for seed in range(4):
        write_series(phantom, tmp_path / "in" / str(seed), seed=seed)
    scan(app, pump, tmp_path / "in")
    rows = [row for study in look.page().rows for row in look.series(study.id)]
    opened_files.clear()
    chosen = rows[-1].series
    pump.finish(app.library.open(look.page().rows[-1].id, chosen.key))
    look.idle()
    assert app.workspace.active is not None
    images = {path.parent for path in opened_files if path.suffix == ".dcm"}
    assert len(images) == 1


def test_files_that_were_overwritten_are_not_opened_under_the_old_name(
    app: AppContext, pump: Any, look: Look, folder: Path, phantom: Phantom
) -> None:
    scan(app, pump, folder)
    write_series(phantom, folder, seed=5)
    job = pump.finish(app.studies.open_series(app.studies.studies[0].series[0]))
    assert getattr(job.error, "code", "") == "E_CHANGED"
    assert app.workspace.active is None


def test_saved_and_exported_work_counts_as_labelled(
    app: AppContext, pump: Any, look: Look, folder: Path, tmp_path: Path
) -> None:
    scan(app, pump, folder, best=True)
    volume = app.workspace.active
    assert volume is not None
    app.library.labelled([volume])
    assert look.page().rows[0].status == "opened", "there is nothing in it yet"
    app.segments.add(volume.id)
    pump.finish(app.documents.save(tmp_path / "work.mvw"))
    assert look.page(status="labelled").total == 1


def test_import_copies_and_forget_removes(app: AppContext, pump: Any, look: Look, folder: Path, tmp_path: Path) -> None:
    job = pump.finish(app.library.import_copy([folder]))
    assert job.error is None
    shutil.rmtree(folder)
    (row,) = look.page().rows
    app.library.check([row])
    assert not look.page().rows[0].missing
    assert app.library.is_copy(look.series(row.id))
    assert len(list(studies_dir().iterdir())) == 1
    pump.finish(app.library.forget(row.id))
    assert look.page().total == 0
    assert list(studies_dir().iterdir()) == []


def test_forgetting_does_not_touch_images_elsewhere(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    scan(app, pump, folder)
    before = sorted(folder.iterdir())
    (row,) = look.page().rows
    assert not app.library.is_copy(look.series(row.id))
    pump.finish(app.library.forget(row.id))
    assert look.page().total == 0
    assert sorted(folder.iterdir()) == before


def test_it_can_be_switched_off_and_cleared(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    app.library.enable(False)
    scan(app, pump, folder, best=True)
    assert look.page().total == 0
    app.library.enable(True)
    scan(app, pump, folder)
    assert look.page().total == 1
    pump.finish(app.library.clear())
    assert look.page().total == 0


def test_a_damaged_library_is_begun_anew_and_said(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    library_file().write_bytes(b"garbage " * 1000)
    scan(app, pump, folder)
    assert look.page().total == 1
    assert any("damaged" in message.text for message in app.messages.messages)


def test_a_library_that_cannot_be_written_stops_nothing(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    library_file().mkdir()
    scan(app, pump, folder, best=True)
    assert app.workspace.active is not None
    assert sum(message.level == "error" for message in app.messages.messages) == 1


def test_the_patient_is_nowhere_else(
    app: AppContext, pump: Any, look: Look, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    titles: list[str] = []
    app.jobs.job_added.connect(lambda job: titles.append(job.title))
    scan(app, pump, folder)
    (study,) = app.studies.studies
    look.page(study.patient_name)
    pump.finish(app.library.import_copy([folder]))
    look.idle()
    app.settings.save()
    words = [word for word in (study.patient_name, study.patient_id) if word]
    assert words
    for path in data_dir().rglob("*"):
        if path.is_file() and path.suffix not in (".dcm",) and not path.name.startswith("library.sqlite"):
            assert not any(word.encode() in path.read_bytes() for word in words), path.name
        assert not any(word in path.name for word in words)
    assert not any(word in text for word in words for text in [*titles, caplog.text])


def test_searches_that_are_overtaken_give_no_answer(app: AppContext, pump: Any, look: Look, folder: Path) -> None:
    scan(app, pump, folder)
    asked: list[str] = []
    app.library.found.connect(lambda query, page: asked.append(query.text))
    for text in ("a", "ab", "abc", "zzz"):
        app.library.search(Query(text=text))
    pump.until(lambda: "zzz" in asked)
    look.idle()
    assert asked == ["zzz"]


def test_opened_volumes_are_known_by_their_series(app: AppContext, pump: Any, look: Look, opened: Volume) -> None:
    (row,) = look.page(status="opened").rows
    (series,) = look.series(row.id)
    assert series.series == opened.series
