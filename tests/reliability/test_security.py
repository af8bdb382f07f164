"""Hostile files, S05 to S13: names, links, sizes, native code, depth, leaks, and programs in disguise."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from medviewer.core.annotation import Box3D
from medviewer.core.errors import MedViewerError
from medviewer.core.segmentation import Segment
from medviewer.core.workspace import Workspace
from medviewer.export.case import Case, cases_of
from medviewer.export.exporter import run_export
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from medviewer.jobs.worker import WorkerProcess
from tests.conftest import ROOT
from tests.dicom_mutators import element, place_of, planted, with_element, with_us
from tests.f_phantom import grid, letter_f, make_series

CTX = NullContext()

# ---- S05, S06: names and links


HOSTILE = [
    "../../x", "/etc/passwd", "C:\\x", "\\\\server\\share", "CON", "con.txt", "nul", "COM1", "LPT9", "a\0b", "x" * 5000,
    "\u202egnp.exe", "; rm -rf /", "a\nb", "-rf", "=cmd()|'/C calc'!A0", "+1", "@SUM(A1)", " ", ".", "..", "...",
    "~root", "$HOME", "%TEMP%", "a/b", "肺", "e\u0301", "a:b", "a*b?", "<b>", "|", '"', "`id`", "x.", ".hidden",
    "a..b", "\ud800", "\x1b[2J", "../" * 60 + "etc/x", "a\\..\\..\\x", "file:///etc/passwd", "http://x/y", "\u200b",
    "\t",
]  # fmt: skip


def hostile_case(folder: Path, text: str) -> Case:
    """Return a phantom in which everything that has a name has a hostile one."""
    volume = make_series(folder, grid("oblique"))
    series = volume.series
    assert series is not None
    volume = replace(
        volume, name=text, patient_name=text, patient_id=text, series=replace(series, description=text, modality=text)
    )
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group(text)
    group.labels[letter_f()] = 1
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, text))
    workspace.set_boxes(volume.id, [Box3D(lower=(0, 0, 0), upper=(1, 1, 1), label=text, score=0.5)])
    (case,) = cases_of(workspace)
    return case


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: repr(t)[:20])
@pytest.mark.parametrize("kind", ["nifti", "nnunet"])
def test_S05_exports_stay_in_their_folder(tmp_path, kind, text):
    case = hostile_case(tmp_path / "series", text)
    out = tmp_path / "a" / "b" / "out"
    out.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(out)}
    with suppress(MedViewerError):
        run_export(CTX, kind, [case], out)
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(out)} == before
    for path in out.rglob("*"):
        assert path.name.isascii()
        assert not set(path.name) & set('<>:"|?*\\\n\0')
        assert path.name[0] not in "-."


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_S06_an_export_follows_no_link(tmp_path):
    case = hostile_case(tmp_path / "series", "Lung")
    once = run_export(CTX, "nifti", [case], tmp_path / "first")
    names = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*")]
    assert once is not None
    victim = planted(tmp_path, "victim", b"precious")
    out = tmp_path / "out"
    for name in names:
        if (tmp_path / "first" / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(victim, out / name)
    with pytest.raises(MedViewerError):
        run_export(CTX, "nifti", [case], out)
    assert victim.read_bytes() == b"precious"
    assert all((out / name).is_symlink() for name in names if (tmp_path / "first" / name).is_file())


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_S06_a_farm_of_links_ends(good, outcome, tmp_path):
    good(5, folder="root/a/b")
    secret = good(3, folder="elsewhere", SeriesInstanceUID="1.7")[0]
    root = tmp_path / "root"
    for n in range(20):
        os.symlink(root, root / "a" / f"up{n}", target_is_directory=True)
        os.symlink(root / "a", root / "a" / "b" / f"loop{n}", target_is_directory=True)
        os.symlink(secret, root / f"out{n}")
        os.symlink(root / "nowhere", root / f"dangling{n}")
    os.symlink("/", root / "slash", target_is_directory=True)
    os.symlink("itself", root / "itself")
    started = time.perf_counter()
    found = outcome(root)
    assert time.perf_counter() - started < 5
    assert len(found.series.files) == 5
    assert scan(CTX, [root]).skipped["links that leave the folder"] >= 21


# ---- S09 to S12: dimensions, native code, depth, leaks


@pytest.mark.parametrize(("rows", "columns", "frames"), [
    (65535, 65535, "1"), (46341, 46341, "1"), (65535, 65535, "2147483647"), (32, 40, "2147483647"), (1, 65535, "65536"),
])  # fmt: skip
@pytest.mark.parametrize("compressed", [False, True])
def test_S09_sizes_are_computed_before_anything_is_allocated(one, outcome, rows, columns, frames, compressed):
    path = one()
    if compressed:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    data = with_us(with_us(path.read_bytes(), 0x00280010, rows), 0x00280011, columns)
    data = with_element(data, 0x00280010, element(0x00280008, b"IS", frames.encode().ljust(12)))
    path.write_bytes(data)
    before = psutil.Process().memory_info().rss
    found = outcome(path)
    assert found.state == "REFUSED", str(found)
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


class Dying:
    """A decode worker that really dies when it is given a certain file."""

    def __init__(self, worker: WorkerProcess, bad: Path) -> None:
        self._worker, self._bad = worker, bad

    def call(self, target: str, payload: Any, *args: Any, **options: Any) -> Any:
        bad = self._bad in [Path(frame.path) for frame in payload.coded]
        return self._worker.call("tests.worker_targets:segfault" if bad else target, payload, *args, **options)


def test_S10_a_decoder_that_crashes_names_its_file(good, worker, tmp_path):
    paths = good(4)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    (study,) = scan(CTX, [tmp_path]).studies
    with pytest.raises(MedViewerError) as refusal:
        open_series(CTX, study.series[0], Dying(worker, paths[2]))  # type: ignore[arg-type]
    assert refusal.value.code == "E_DECODER_CRASHED"
    assert paths[2].name in refusal.value.text
    # The same worker goes on with the next file.
    assert open_series(CTX, study.series[0], worker).array.shape[0] == 4


def test_S10_compressed_pixels_are_never_decoded_in_this_process(good, tmp_path):
    """No codec is imported by the window's process, whatever it opens."""
    import subprocess

    for path in good(2):
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    code = (
        "import sys, medviewer as mv\n"
        "if __name__ == '__main__':\n"
        "    assert mv.load(sys.argv[1]).array.shape[0] == 2\n"
        "    codecs = {'gdcm', '_gdcm', 'openjpeg', 'libjpeg', 'rle', 'jpeg_ls', 'imagecodecs', 'PIL'}\n"
        "    bad = codecs & set(sys.modules)\n"
        "    sys.exit(str(bad) if bad else 0)\n"
    )
    script = planted(tmp_path, "load.py", code.encode())
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "series")], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_S11_ten_thousand_fragments(one, outcome):
    path = one()
    twin = outcome(path)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    from pydicom.encaps import generate_frames

    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    pieces = [stream[n : n + 2] for n in range(0, len(stream), 2)]
    empty = [b""] * (10_000 - len(pieces))
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(p)) + p for p in [*pieces, *empty])
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    data = path.read_bytes()
    at = place_of(data, 0x7FE00010)
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    path.write_bytes(data[: at + 12] + struct.pack("<HHI", 0xFFFE, 0xE000, 0) + items + end)
    found = outcome(path)
    assert found.digest == twin.digest or found.state == "REFUSED"


def test_S12_a_hundred_files_that_leak_elsewhere(one, all_outcomes, tmp_path):
    """Bad VRs in the meta information: 739 MB a file for some."""
    data = one().read_bytes()
    for n in range(117):
        meta = element(0x00020102, [b"ZZ", b"\0\0", b"NO", b"SQ"][n % 4], b"\xff" * (n * 8))
        planted(tmp_path, f"leaky/{n}.dcm", data[:158] + meta + data[158:])
    all_outcomes(tmp_path / "leaky" / "0.dcm")
    before = psutil.Process().memory_info().rss
    all_outcomes(tmp_path / "leaky")
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


# ---- S13: two files in one

PROGRAMS = [b"MZ\x90\0", b"\x7fELF\2\1\1", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!/bin/sh\n", b'{"a": 1}']


@pytest.mark.parametrize("start", PROGRAMS)
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_S13_a_preamble_of_another_program_is_told(good, outcome, tmp_path, start, syntax):
    paths = good(3, syntax=pydicom.uid.UID(syntax))
    twin = outcome(tmp_path)
    paths[1].write_bytes(start.ljust(128, b"\1") + paths[1].read_bytes()[128:])
    found = outcome(tmp_path)
    assert found.codes == {"W_PREAMBLE"}
    assert "1 of 3 files" in found.text
    assert found.digest == twin.digest


def test_S13_lawful_preambles_are_no_matter(one, outcome):
    path = one()
    for start in (b"II*\0\x10\0\0\0", b"MM\0*", b"", b"\1\2\3"):
        path.write_bytes(start.ljust(128, b"\0") + path.read_bytes()[128:])
        assert "W_PREAMBLE" not in outcome(path).codes


@pytest.mark.parametrize("start", PROGRAMS)
def test_S13_no_export_has_a_preamble_or_may_be_run(tmp_path, start):
    from medviewer.export.exporter import all_exporters

    case = hostile_case(tmp_path / "series", "Lung")
    assert case.volume.series is not None
    for path in case.volume.series.files:
        path.write_bytes(start.ljust(128, b"\1") + path.read_bytes()[128:])
    written = []
    for info in all_exporters():
        run_export(CTX, info.id, [case], tmp_path / info.id)
        written += [path for path in (tmp_path / info.id).rglob("*") if path.is_file()]
    dicom = [path for path in written if path.read_bytes()[128:132] == b"DICM"]
    assert dicom
    assert all(path.read_bytes()[:128] == bytes(128) for path in dicom)
    assert not any(path.read_bytes().startswith(tuple(PROGRAMS[:-1])) for path in written)
    if os.name != "nt":
        assert not any(path.stat().st_mode & 0o111 for path in written)


def test_S13_what_is_sent_has_no_preamble():
    from medviewer.io.preamble import without_preamble

    data = b"MZ".ljust(128, b"\1") + b"DICM" + b"rest"
    assert without_preamble(data) == bytes(128) + b"DICMrest"
    assert without_preamble(b"MZ no dicom") == b"MZ no dicom"


# ---- S08 once more: what the two kinds of inflate share


@pytest.mark.parametrize("wrap", [gzip.compress, zlib.compress])
def test_S08_compressed_voxels_are_capped_before_they_are_inflated(outcome, tmp_path, wrap):
    packed = wrap(bytes(2**20))
    text = (
        "NDims = 3\nDimSize = 4000 4000 400\nElementType = MET_UCHAR\nCompressedData = True\nElementDataFile = LOCAL\n"
    )
    found = outcome(planted(tmp_path, "a.mha", text.encode() + packed), within=1.0)
    assert found.codes == {"E_BOMB"}


def test_no_file_on_disk_is_changed_by_opening_it(good, all_outcomes, tmp_path):
    paths = good(3)
    paths[1].write_bytes(paths[1].read_bytes()[:-10])
    planted(tmp_path, "series/x.nii", b"junk")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    all_outcomes(tmp_path)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_S10_the_worker_has_a_memory_limit(worker):
    limit = worker.call("tests.worker_targets:memory_limit", None, CTX)
    assert 0 < limit <= psutil.virtual_memory().total
