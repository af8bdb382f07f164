"""Folders and disks that misbehave, G28 to G31: deep, huge, gone, unreadable, with odd names."""

from __future__ import annotations

import os
import shutil
import time

import psutil
import pydicom
import pytest

from medviewer.core.errors import InputError, OutOfMemory
from medviewer.io.dicom_header import forget_headers
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice

CTX = NullContext()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_G28_links_and_depth(good, outcome, tmp_path):
    deep = "/".join(f"d{n}" for n in range(40))
    good(5, folder=f"root/{deep}")
    os.symlink(tmp_path / "root", tmp_path / "root" / "loop", target_is_directory=True)
    good(3, folder="elsewhere", SeriesInstanceUID="1.7")
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "away", target_is_directory=True)
    found = outcome(tmp_path / "root")
    assert found.state == "LOADED"
    assert len(found.series.files) == 5


@pytest.mark.slow
def test_G28_ten_thousand_files(tmp_path):
    path = write_slice(tmp_path / "src" / "0.dcm", pixels())
    data = path.read_bytes()
    uid = pydicom.dcmread(path).SOPInstanceUID.encode()
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(10_000):
        (folder / f"{n:05d}.dcm").write_bytes(data.replace(uid, f"{n:05d}".encode() + uid[5:]))
    started = time.perf_counter()
    result = scan(CTX, [folder])
    assert time.perf_counter() - started < 15
    assert sum(len(series.files) for study in result.studies for series in study.series) >= 1


def test_G29_memory_is_forecast(good, tmp_path, monkeypatch):
    good(5)
    (study,) = scan(CTX, [tmp_path]).studies
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(available=1000))
    with pytest.raises(OutOfMemory) as refusal:
        open_series(CTX, study.series[0])
    assert refusal.value.code == "E_MEMORY"
    assert "GB" in refusal.value.text
    assert refusal.value.hint


def test_G30_files_disappear(good, worker, tmp_path):
    paths = good(5)
    (study,) = scan(CTX, [tmp_path]).studies
    paths[3].unlink()
    with pytest.raises(InputError) as refusal:
        open_series(CTX, study.series[0], worker)
    assert refusal.value.code == "E_FILE"
    assert paths[3].name in refusal.value.text
    assert refusal.value.hint


@pytest.mark.parametrize("compressed", [False, True])
def test_G30_folder_disappears_while_it_is_loaded(good, worker, tmp_path, compressed):
    paths = good(80)
    for path in paths if compressed else ():
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    (study,) = scan(CTX, [tmp_path]).studies
    forget_headers()
    started = time.perf_counter()
    with pytest.raises(InputError) as refusal:
        open_series(CTX, study.series[0], worker, on_first=lambda volume: shutil.rmtree(paths[0].parent))
    assert refusal.value.code == "E_FILE"
    assert refusal.value.hint
    assert time.perf_counter() - started < 10


def test_G30_folder_disappears_while_it_is_scanned(good, tmp_path):
    paths = good(80)

    class Pulled(NullContext):
        def progress(self, fraction, text=""):
            if fraction and paths[0].exists():
                shutil.rmtree(paths[0].parent)

    result = scan(Pulled(), [tmp_path / "series"])
    assert sum(len(series.files) for study in result.studies for series in study.series) < 80
    assert result.skipped["broken files"] > 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_G30_a_pipe_is_no_file_to_wait_for(good, outcome, tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    found = outcome(tmp_path / "pipe.dcm", within=1.0)
    assert found.codes == {"E_FILE"}
    good(3)
    os.mkfifo(tmp_path / "series" / "pipe.dcm")
    assert len(outcome(tmp_path / "series").series.files) == 3


@pytest.mark.parametrize("name", ["a\nb.dcm", "scan 🫀.dcm", "x" * 240 + ".dcm", "-rf.dcm", "käse\u202e.dcm"])
@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made on Windows")
def test_G31_file_names(good, outcome, tmp_path, name):
    paths = good(5)
    alone = outcome(tmp_path)
    paths[2].rename(paths[2].with_name(name))
    assert outcome(tmp_path).digest == alone.digest


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made on Windows")
def test_G31_name_of_invalid_bytes(good, outcome, tmp_path):
    paths = good(5)
    alone = outcome(tmp_path)
    try:
        os.rename(os.fsencode(paths[2]), os.fsencode(paths[2].parent) + b"/\xff\xfe.dcm")
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    assert outcome(tmp_path).digest == alone.digest


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions stop")
def test_G31_unreadable_file(good, all_outcomes, tmp_path):
    paths = good(5)
    paths[4].chmod(0)
    (found,) = all_outcomes(tmp_path)
    assert found.volume.geometry.size[2] == 4
    assert "W_UNREADABLE" in found.codes
