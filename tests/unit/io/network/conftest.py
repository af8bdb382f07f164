"""Orthanc with one small series, shared by the tests of this folder."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from medviewer.io.network.query import InstanceRow
from tests import pacs_kit as kit
from tests.pacs_kit import body
from tests.pacs_peers import CT


@dataclass(frozen=True)
class Study:
    """A series of 40 slices that Orthanc has, and what its files hold."""

    study_uid: str
    series_uid: str
    files: tuple[Path, ...]
    bodies: frozenset[bytes]


@pytest.fixture(scope="session")
def phantom_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    from medviewer.phantoms import spheres_volume, write_series

    return tuple(write_series(spheres_volume(), tmp_path_factory.mktemp("phantom")))


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    if not (kit.ORTHANC.exists() and kit.PLUGIN.exists()):
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")
    with kit.orthanc_server(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="session")
def study(orthanc: object, phantom_files: tuple[Path, ...]) -> Study:
    from pydicom import dcmread

    orthanc.upload(list(phantom_files))  # type: ignore[attr-defined]
    header = dcmread(phantom_files[0], stop_before_pixels=True)
    bodies = frozenset(body(path) for path in phantom_files)
    return Study(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), phantom_files, bodies)


@pytest.fixture(scope="session")
def fetched_bodies() -> Callable[[object], frozenset[bytes]]:
    def bodies(result: object) -> frozenset[bytes]:
        folders = result.folders  # type: ignore[attr-defined]
        return frozenset(body(path) for folder in folders for path in folder.glob("*.dcm"))

    return bodies


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture
def instance(phantom_files: tuple[Path, ...], tmp_path: Path) -> tuple[InstanceRow, Path]:
    from pydicom import dcmread

    header = dcmread(phantom_files[0], stop_before_pixels=True)
    row = InstanceRow(
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=CT,
    )
    return row, phantom_files[0]
