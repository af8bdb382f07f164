"""The catalogue: what goes in comes out, is found by any beginning of its words, and leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study
from medviewer.core.errors import LibraryError
from medviewer.io import catalogue_schema, catalogue_sql
from medviewer.io.catalogue import Catalogue
from medviewer.io.catalogue_files import find_moved, is_same, is_there
from medviewer.io.catalogue_rows import Filters, pack_files, unpack_files
from medviewer.io.catalogue_text import fold, words
from medviewer.io.dicom_scan import scan_paths
from medviewer.jobs.job import NullContext

CTX = NullContext()
TEXT = st.text(max_size=30)


def make_study(uid: str = "1.2", folder: Path = Path("/data/a"), images: int = 3, **values: object) -> Study:
    series_values = {name: values.pop(name) for name in ("modality", "body_part_examined") if name in values}
    series = SeriesRef(
        key=f"{uid}.1",
        series_instance_uid=f"{uid}.1",
        study_instance_uid=uid,
        modality=str(series_values.get("modality", "CT")),
        body_part_examined=str(series_values.get("body_part_examined", "CHEST")),
        size=(8, 6, images),
        spacing=(0.8, 0.7, 2.0),
        files=tuple(folder / f"{n}.dcm" for n in range(images)),
        warnings=(SeriesWarning("W_TILT", "Tilted."),),
    )
    texts = {"patient_name": "Doe^Jane", "patient_id": "0815", "study_date": "20260102", **values}
    return Study(study_instance_uid=uid, series=(series,), **texts)  # type: ignore[arg-type]  # values are the caller's


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    made = Catalogue(tmp_path / "own" / "library.sqlite")
    made.path.parent.mkdir()
    yield made
    made.close()


def found(catalogue: Catalogue, text: str, **filters: str) -> list[str]:
    return [row.study_instance_uid for row in catalogue.search(text, Filters(**filters)).rows]


# ---- what goes in comes out


def test_a_study_comes_back_as_it_went_in(catalogue: Catalogue) -> None:
    study = make_study(
        patient_birth_date="19700101",
        patient_sex="F",
        description="Thorax",
        accession_number="A1",
        warnings=(SeriesWarning("W_CHARSET", "x"),),
    )
    study_id = catalogue.record(study)
    assert catalogue.study(study_id) == study
    (row,) = catalogue.search().rows
    assert (row.id, row.series_count, row.image_count, row.status, row.missing) == (study_id, 1, 3, "new", False)
    assert (row.modalities, row.body_parts) == (("CT",), ("CHEST",))
    assert "Doe" not in repr(row)
    assert "0815" not in repr(row)


@given(
    texts=st.fixed_dictionaries(dict.fromkeys(("patient_name", "patient_id", "description", "accession_number"), TEXT))
)
@settings(max_examples=60, deadline=None)
def test_any_text_is_kept_and_found_by_the_beginning_of_each_of_its_words(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(Path(folder) / "c.sqlite")
        try:
            study = make_study(**texts)
            catalogue.record(study)
            catalogue.record(make_study("9.9", patient_name="", patient_id="other"))
            for word in {word for text in texts.values() for word in words(text)}:
                for typed in (word[:1], word, word.upper()):
                    assert "1.2" in found(catalogue, typed), (word, typed)
            assert "1.2" in found(catalogue, " ".join(texts.values()))
        finally:
            catalogue.close()


@given(TEXT)
def test_folding_twice_changes_nothing_and_case_makes_no_difference(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert words(text) == words(" ".join(words(text)))


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Müller^Jürgen", "muller"), ("Müller^Jürgen", "MUELLER jurg"), ("MUELLER", "mueller"),
        ("Łukasz", "lukasz"), ("Strauß", "strauss"), ("Ångström", "angst"), ("O'Brien-Smith", "smith"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "太郎"), ("山田太郎", "太郎"),
        ("Ψαρράς", "ψαρρασ"), ("Иванов", "иван"),
    ],
)  # fmt: skip
def test_names_of_the_world_are_found(catalogue: Catalogue, stored: str, typed: str) -> None:
    catalogue.record(make_study(patient_name=stored))
    assert found(catalogue, typed) == ["1.2"]


@pytest.mark.parametrize("typed", ['"', "* OR text", "text : a", "a\0b", "%", "'); DROP TABLE study; --", "NEAR(", "^"])
def test_hostile_words_are_only_words(catalogue: Catalogue, typed: str) -> None:
    catalogue.record(make_study())
    assert found(catalogue, typed) == ([] if words(typed) else ["1.2"])
    assert found(catalogue, "") == ["1.2"]


def test_filters_narrow(catalogue: Catalogue) -> None:
    catalogue.record(make_study("1", study_date="20250101"))
    catalogue.record(
        make_study("2", patient_id="2", study_date="20260101", modality="MR", body_part_examined="HEAD NECK")
    )
    catalogue.record(make_study("3", patient_id="3", study_date=""))
    assert found(catalogue, "", modality="MR") == ["2"]
    assert found(catalogue, "doe", body_part="HEAD NECK") == ["2"]
    assert found(catalogue, "doe", modality="CT", date_from="20240101") == ["1"]
    assert found(catalogue, "", date_to="20250601") == ["1"]
    assert found(catalogue, "", date_from="20250101", date_to="20260101") == ["2", "1"]
    assert found(catalogue, "", status="opened") == []
    study = catalogue.study(catalogue.search("", Filters(modality="MR")).rows[0].id)
    assert study is not None
    assert catalogue.mark(study.series[0], "opened") is not None
    assert found(catalogue, "", status="opened") == ["2"]
    assert catalogue.facets() == (("CT", "MR"), ("CHEST", "HEAD NECK"))


@given(
    st.lists(
        st.tuples(
            st.text("ab é山", max_size=5), st.sampled_from(["CT", "MR"]), st.sampled_from(["", "20250101", "20260101"])
        ),
        max_size=6,
    ),
    st.text("ab é山", max_size=4),
    st.sampled_from(["", "CT"]),
    st.sampled_from(["", "20250601"]),
)
@settings(max_examples=30, deadline=None)
def test_both_ways_of_finding_find_the_same(
    studies: list[tuple[str, str, str]], typed: str, modality: str, date: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        catalogue = Catalogue(Path(folder) / "c.sqlite")
        try:
            for n, (name, kind, day) in enumerate(studies):
                catalogue.record(
                    make_study(str(n), patient_id=str(n), patient_name=name, modality=kind, study_date=day)
                )
            filters = Filters(modality=modality, date_from=date)
            indexed = catalogue.search(typed, filters)
            patch.setattr(catalogue_sql, "_FEW", -1)
            assert catalogue.search(typed, filters) == indexed
        finally:
            catalogue.close()


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_pages_put_together_are_the_sorted_list(data: st.DataObject) -> None:
    few = data.draw(st.sampled_from([0, 3000]))
    dates = data.draw(st.lists(st.sampled_from(["", "20250101", "20250102", "20260101"]), max_size=12))
    order = data.draw(st.sampled_from(["study_date", "name_key", "patient_id"]))
    descending = data.draw(st.booleans())
    text = data.draw(st.sampled_from(["", "doe"]))
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(Path(folder) / "c.sqlite")
        patch = pytest.MonkeyPatch()
        patch.setattr(catalogue_sql, "_FEW", few)
        try:
            for n, date in enumerate(dates):
                catalogue.record(make_study(str(n), patient_id=str(n % 3), study_date=date))
            seen, after = [], None
            while True:
                page = catalogue.search(text, order=order, descending=descending, after=after, limit=2)
                assert page.total == len(dates)
                seen += page.rows
                after = page.after
                if after is None:
                    break
        finally:
            patch.undo()
            catalogue.close()
    column = {"study_date": "study_date", "name_key": "patient_name", "patient_id": "patient_id"}[order]
    keys = [(getattr(row, column), row.id) for row in seen]
    assert keys == sorted(keys, reverse=descending)
    assert len({row.id for row in seen}) == len(dates)


# ---- recording again


def test_recording_again_keeps_one_row_and_its_pictures(catalogue: Catalogue) -> None:
    study_id = catalogue.record(make_study())
    (series,) = catalogue.series(study_id)
    catalogue.set_thumbnail(series.id, b"png")
    assert catalogue.record(make_study(description="Better")) == study_id
    (series,) = catalogue.series(study_id)
    assert series.thumbnail == b"png"
    assert found(catalogue, "better") == ["1.2"]
    assert catalogue.search().total == 1


def test_a_status_never_goes_back(catalogue: Catalogue) -> None:
    study = make_study()
    catalogue.record(study)
    for status in ("labelled", "opened"):
        catalogue.mark(study.series[0], status)  # type: ignore[arg-type]  # one of the two
    catalogue.record(study)
    assert catalogue.search().rows[0].status == "labelled"
    assert catalogue.mark(replace(study.series[0], key="unknown"), "opened") is None


def test_one_file_of_a_series_does_not_replace_the_whole(catalogue: Catalogue, tmp_path: Path) -> None:
    whole = make_study(folder=tmp_path, images=4)
    for path in whole.series[0].files:
        path.touch()
    study_id = catalogue.record(whole)
    catalogue.record(make_study(folder=tmp_path, images=1))
    assert catalogue.study(study_id) == whole
    whole.series[0].files[0].unlink()
    part = make_study(folder=tmp_path / "new", images=1)
    catalogue.record(part)
    assert catalogue.study(study_id) == part


def test_the_same_study_uid_of_two_patients_stays_two_studies(catalogue: Catalogue) -> None:
    catalogue.record(make_study(patient_id="1"))
    catalogue.record(make_study(patient_id="2"))
    assert catalogue.search().total == 2


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=6
    )
)
def test_files_of_any_name_are_packed_and_unpacked(names: list[str]) -> None:
    base = Path.cwd() / "a"
    files = tuple(Path(os.path.abspath(base / name / "x")) for name in names)
    assert unpack_files(*pack_files(files)) == files


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_no_unicode_are_kept() -> None:
    files = (Path(os.fsdecode(b"/data/\xff/1")), Path(os.fsdecode(b"/data/\xff/\xfe")))
    assert unpack_files(*pack_files(files)) == files


# ---- forgetting


def bytes_of(catalogue: Catalogue) -> bytes:
    return b"".join(path.read_bytes() for path in catalogue.path.parent.iterdir())


def test_forgetting_leaves_nothing_in_the_file(catalogue: Catalogue) -> None:
    catalogue.record(make_study("1", patient_id="1", patient_name="Keepme"))
    study_id = catalogue.record(make_study("2", patient_id="2", patient_name="Zebedee^Quentin"))
    assert b"ebedee" in bytes_of(catalogue)
    catalogue.forget(study_id)
    assert b"ebedee" not in bytes_of(catalogue)
    assert found(catalogue, "zebedee") == []
    assert found(catalogue, "keepme") == ["1"]
    catalogue.clear()
    assert list(catalogue.path.parent.iterdir()) == []
    assert catalogue.search().total == 0


@pytest.mark.skipif(os.name == "nt", reason="permissions are lists there")
def test_only_the_user_may_read_the_files(catalogue: Catalogue) -> None:
    old = os.umask(0)
    try:
        catalogue.record(make_study())
        assert {stat.S_IMODE(path.stat().st_mode) for path in catalogue.path.parent.iterdir()} == {0o600}
    finally:
        os.umask(old)


# ---- damage, versions, threads


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: str) -> None:
    told: list[bool] = []
    path = tmp_path / "library.sqlite"
    if damage == "no database":
        path.write_bytes(b"This is no database. " * 500)
    else:
        first = Catalogue(path)
        for n in range(40):
            first.record(make_study(str(n), patient_id=str(n)))
        first.close()
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        path.write_bytes(bytes(data))
    catalogue = Catalogue(path, lambda: told.append(True))
    catalogue.record(make_study())
    assert found(catalogue, "doe") == ["1.2"]
    assert told == [True]
    assert path.with_name("library.sqlite.bad").exists()
    catalogue.close()


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "library.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {catalogue_schema.VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LibraryError) as refused:
        Catalogue(path).search()
    assert refused.value.code == "E_NEWER"
    assert path.read_bytes() == before


def test_a_step_to_a_new_version_is_whole_or_not_at_all(tmp_path: Path) -> None:
    db = catalogue_schema.connect(tmp_path / "c.sqlite")
    now = catalogue_schema.VERSION
    with pytest.raises(sqlite3.Error):
        catalogue_schema.migrate(db, now + 1, {now: "ALTER TABLE study ADD COLUMN extra TEXT; SELECT nonsense"})
    assert "extra" not in [row[1] for row in db.execute("PRAGMA table_info(study)")]
    catalogue_schema.migrate(db, now + 1, {now: "ALTER TABLE study ADD COLUMN extra TEXT"})
    assert "extra" in [row[1] for row in db.execute("PRAGMA table_info(study)")]
    db.close()


def test_threads_and_a_second_program_share_it(catalogue: Catalogue) -> None:
    other = Catalogue(catalogue.path)
    errors: list[BaseException] = []

    def work(which: Catalogue, start: int) -> None:
        try:
            for n in range(start, start + 15):
                which.record(make_study(str(n), patient_id=str(n)))
                which.search("doe")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(c, 15 * n)) for n, c in enumerate([catalogue, catalogue, other])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert errors == []
    assert catalogue.search("doe").total == 45


def test_a_folder_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(LibraryError):
        Catalogue(tmp_path / "none" / "library.sqlite").search()
    closed = Catalogue(tmp_path / "library.sqlite")
    closed.close()
    with pytest.raises(LibraryError):
        closed.search()


# ---- files that move


def scanned(catalogue: Catalogue, folder: Path) -> int:
    (study,) = scan_paths(CTX, [folder])
    return catalogue.record(study)


@pytest.mark.parametrize("chosen", ["itself", "above"])
def test_a_moved_folder_is_found(catalogue: Catalogue, make_series, tmp_path: Path, chosen: str) -> None:
    folder = make_series(4, name="disk/study/series")[0].parent
    study_id = scanned(catalogue, folder)
    rows = catalogue.series(study_id)
    assert all(is_there(row) and is_same(row.series) for row in rows)
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    assert not any(is_there(row) for row in rows)
    new = tmp_path / "elsewhere" / "study" / "series"
    catalogue.set_missing({study_id: True})
    assert catalogue.search().rows[0].missing
    catalogue.move(study_id, find_moved(CTX, rows, new if chosen == "itself" else new.parent))
    (row,) = catalogue.series(study_id)
    assert [path.parent for path in row.series.files] == [new] * 4
    assert is_there(row)
    assert not catalogue.search().rows[0].missing


def test_another_folder_is_not_taken_for_it(catalogue: Catalogue, make_series, tmp_path: Path) -> None:
    study_id = scanned(catalogue, make_series(4, name="one")[0].parent)
    rows = catalogue.series(study_id)
    other = make_series(4, name="two", SeriesInstanceUID="9.9")[0].parent
    (tmp_path / "one").rename(tmp_path / "gone")
    with pytest.raises(LibraryError) as refused:
        find_moved(CTX, rows, other)
    assert refused.value.code == "E_OTHER_STUDY"
    (other / "000.dcm").unlink()
    with pytest.raises(LibraryError) as refused:
        find_moved(CTX, rows, other)
    assert refused.value.code == "E_NOT_FOUND"


def test_files_of_another_series_are_noticed(catalogue: Catalogue, make_series) -> None:
    study_id = scanned(catalogue, make_series(4, name="one")[0].parent)
    make_series(4, name="one", SeriesInstanceUID="9.9")
    (row,) = catalogue.series(study_id)
    assert is_there(row)
    assert not is_same(row.series)


def test_a_search_takes_no_time(catalogue: Catalogue) -> None:
    for n in range(300):
        catalogue.record(make_study(str(n), patient_id=str(n)))
    started = time.perf_counter()
    assert catalogue.search("doe").total == 300
    assert time.perf_counter() - started < 0.5
