"""The library with 100 000 studies: listing, searching and recording.

Run with ``pytest tests/benchmarks/bench_catalogue.py -m benchmark_run -s``.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.io.catalogue import Catalogue
from medviewer.io.catalogue_rows import Filters
from medviewer.io.catalogue_sql import put_series, put_study, refresh, series_values

pytestmark = pytest.mark.benchmark_run
STUDIES = 100_000
ROUNDS = 9
BOUND_MS = 50.0


def generated(n: int, dice: random.Random) -> Study:
    families = ["Müller", "Smith", "García", "Ivanov", "Tanaka", "Okafor", "Larsen", "Nowak", "Rossi", "Silva"]
    given = ["Anna", "Jürgen", "María", "Oleg", "Hana", "Chidi", "Søren", "Zofia", "Luca", "João"]
    words = ["chest", "abdomen", "contrast", "follow up", "routine", "low dose", "trauma", "spine", "brain", "knee"]
    uid = f"1.2.826.0.{n}"
    parts = [
        SeriesRef(
            key=f"{uid}.{s}",
            series_instance_uid=f"{uid}.{s}",
            study_instance_uid=uid,
            modality=dice.choice(["CT", "MR", "PT", "CR", "US"]),
            body_part_examined=dice.choice(["CHEST", "HEAD", "ABDOMEN", "KNEE", ""]),
            series_number=s,
            size=(512, 512, 120),
            files=tuple(Path(f"/archive/{n % 1000}/{n}/{s}/{k}.dcm") for k in range(3)),
        )
        for s in range(2)
    ]
    return Study(
        study_instance_uid=uid,
        patient_name=f"{dice.choice(families)}{dice.randint(0, 400)}^{dice.choice(given)}",
        patient_id=f"P{dice.randint(0, 60_000):06d}",
        study_date=f"{dice.randint(2005, 2026)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}",
        description=" ".join(dice.sample(words, 2)),
        accession_number=f"ACC{n:07d}",
        series=tuple(parts),
    )


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    made = Catalogue(tmp_path_factory.mktemp("library") / "library.sqlite")
    made.search()
    db = made._connection
    assert db is not None
    dice = random.Random(7)
    db.execute("BEGIN")
    for n in range(STUDIES):
        study = generated(n, dice)
        study_id = put_study(db, study)
        for series in study.series:
            values = series_values(series, lambda _: None)
            put_series(db, study_id, values["uid"], [values])
        refresh(db, study_id)
    db.execute("COMMIT")
    print(f"\n{STUDIES} studies, {made.path.stat().st_size / 1e6:.0f} MB")
    yield made
    made.close()


SEARCHES: dict[str, dict[str, object]] = {
    "all, newest first": {},
    "all, by name": {"order": "name_key", "descending": False},
    "a": {"text": "a"},
    "c": {"text": "c"},
    "chest": {"text": "chest"},
    "mull": {"text": "mull"},
    "muller123 jur": {"text": "muller123 jur"},
    "P0123": {"text": "P0123"},
    "ACC00543": {"text": "ACC00543"},
    "nothing": {"text": "zzzz"},
    "CT": {"filters": Filters(modality="CT")},
    "CT chest 2020": {"filters": Filters(modality="CT", body_part="CHEST", date_from="20200101", date_to="20201231")},
    "c in CT": {"text": "c", "filters": Filters(modality="CT")},
    "c since 2010": {"text": "c", "filters": Filters(date_from="20100101")},
    "c, by name": {"text": "c", "order": "name_key", "descending": False},
}


def median_ms(catalogue: Catalogue, **what: object) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        catalogue.search(**what)  # type: ignore[arg-type]  # as a table
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def test_list_and_search(catalogue: Catalogue) -> None:
    slowest = 0.0
    for name, what in SEARCHES.items():
        ms = median_ms(catalogue, **what)
        slowest = max(slowest, ms)
        print(f"{name:<20} {catalogue.search(**what).total:>7} {ms:6.1f} ms")  # type: ignore[arg-type]  # as a table
    assert slowest <= BOUND_MS


def test_deep_pages(catalogue: Catalogue) -> None:
    page = catalogue.search("c", limit=20_000)
    ms = median_ms(catalogue, text="c", after=page.after)
    print(f"page after 20 000 {ms:6.1f} ms")
    assert ms <= BOUND_MS


def test_facets_and_series(catalogue: Catalogue) -> None:
    for name, call in (("facets", catalogue.facets), ("series", lambda: catalogue.series(777))):
        started = time.perf_counter()
        call()
        ms = (time.perf_counter() - started) * 1e3
        print(f"{name:<20} {ms:6.1f} ms")
        assert ms <= BOUND_MS


def test_record_and_forget(catalogue: Catalogue) -> None:
    dice = random.Random(1)
    files = tuple(Path(f"/archive/new/IM{k:05d}.dcm") for k in range(10_000))
    study = generated(STUDIES + 1, dice)
    big = SeriesRef(key="9.9", series_instance_uid="9.9", files=files, size=(512, 512, 10_000))
    started = time.perf_counter()
    study_id = catalogue.record(Study(study_instance_uid="9", patient_id="9", series=(*study.series, big)))
    print(f"record 10 000 files  {(time.perf_counter() - started) * 1e3:6.1f} ms")
    started = time.perf_counter()
    catalogue.forget(study_id)
    print(f"forget               {(time.perf_counter() - started) * 1e3:6.1f} ms")
