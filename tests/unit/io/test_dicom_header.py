"""The fast parser agrees with pydicom, reads no pixels, and leaves to pydicom what it does not understand."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medviewer.core.errors import InputError
from medviewer.io import dicom_fallback
from medviewer.io.dicom_fallback import parse_with_pydicom
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.dicom_tags import WANTED, Tag
from medviewer.jobs.job import NullContext

PIXELS = np.arange(48, dtype=np.int16).reshape(6, 8)


def sequence_of(depth: int, *, undefined: bool) -> DicomSequence:
    item = Dataset()
    item.CodeValue = "1"
    if depth:
        item.ConceptNameCodeSequence = sequence_of(depth - 1, undefined=undefined)
        item["ConceptNameCodeSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return DicomSequence([item])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_fast_parser_says_the_same_as_pydicom(tmp_path, make_slice, monkeypatch, syntax):
    path = make_slice(
        tmp_path / "a.dcm", PIXELS, (1.5, -2.25, 3.0), syntax=syntax, WindowCenter=[40, 50], WindowWidth=400
    )

    def refuse(*_: object) -> None:
        pytest.fail("left to pydicom")

    monkeypatch.setattr(dicom_fallback, "parse_with_pydicom", refuse)
    header = read_header(path)
    slow = parse_with_pydicom(path, path.stat())
    assert {t: header.text(t) for t in WANTED} == {t: slow.text(t) for t in WANTED}
    assert header.numbers(Tag.IMAGE_POSITION_PATIENT) == (1.5, -2.25, 3.0)
    assert header.integer(Tag.ROWS) == 6
    assert (header.pixel_offset, header.pixel_length) == (slow.pixel_offset, slow.pixel_length)
    assert path.read_bytes()[header.pixel_offset :] == PIXELS.tobytes()


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_nested_sequences_before_the_wanted_elements_are_stepped_over(tmp_path, make_slice, syntax, undefined):
    path = make_slice(
        tmp_path / "a.dcm", PIXELS, syntax=syntax, ReferencedStudySequence=sequence_of(3, undefined=undefined)
    )
    header = read_header(path)
    assert header.text(Tag.SERIES_INSTANCE_UID) == "1.2.3.4.5"
    assert path.read_bytes()[header.pixel_offset :] == PIXELS.tobytes()


def test_elements_longer_than_the_first_read(tmp_path, make_slice):
    path = make_slice(tmp_path / "a.dcm", PIXELS, ImageComments="x" * 9000, TextValue="y" * 90_000)
    header = read_header(path)
    assert header.integer(Tag.ROWS) == 6
    assert path.read_bytes()[header.pixel_offset :] == PIXELS.tobytes()


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings(tmp_path, make_slice, syntax):
    header = read_header(make_slice(tmp_path / "a.dcm", PIXELS, (1, 2, 3), syntax=syntax))
    assert header.transfer_syntax_uid == syntax
    assert header.integer(Tag.ROWS) == 6
    assert header.numbers(Tag.IMAGE_POSITION_PATIENT) == (1, 2, 3)
    assert header.pixel_length == 96


def test_no_preamble_is_read_when_it_plausibly_is_dicom(tmp_path, make_slice):
    data = make_slice(tmp_path / "a.dcm", PIXELS).read_bytes()
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(data[132:])
    header = read_header(bare)
    assert header.text(Tag.MODALITY) == "CT"
    assert bare.read_bytes()[header.pixel_offset :] == PIXELS.tobytes()


@pytest.mark.parametrize(
    "data", [b"", b"DICM", b"%PDF-1.4 nothing of the kind here", bytes(range(256)) * 4, b"\0" * 4096]
)
def test_what_is_not_dicom_is_named_so(tmp_path, data):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        read_header(path)
    assert refusal.value.code == "E_NOT_DICOM"


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_header_cut_anywhere_is_refused_or_read_without_pixels(tmp_path, make_slice, fraction):
    data = make_slice(tmp_path / "a.dcm", PIXELS).read_bytes()
    end = len(data) - PIXELS.nbytes
    path = tmp_path / "cut.dcm"
    path.write_bytes(data[: int(end * fraction)])
    header = _read(path)
    assert header is None or not header.has_pixels


def _read(path):
    try:
        return read_header(path)
    except InputError:
        return None


def test_a_file_that_changed_is_read_again(tmp_path, make_slice):
    path = make_slice(tmp_path / "a.dcm", PIXELS, PatientID="one")
    assert read_header(path) is read_header(path)
    make_slice(path, PIXELS, PatientID="another")
    assert read_header(path).text(Tag.PATIENT_ID) == "another"


def test_a_deflated_bomb_costs_nothing(tmp_path, make_slice):
    path = make_slice(tmp_path / "a.dcm", PIXELS, syntax=DeflatedExplicitVRLittleEndian)
    meta_end = path.read_bytes().index(b"DICM") + 4
    meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    head = path.read_bytes()[: meta_end + 12 + meta]
    # One private element that promises 100 MB of zeros before anything else.
    element = b"\x09\x00\x10\x00OB\x00\x00" + (100 << 20).to_bytes(4, "little")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = squeeze.compress(element) + b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(110)) + squeeze.flush()
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(head + body)
    started = time.perf_counter()
    with pytest.raises(InputError) as refusal:
        read_header(bomb)
    assert refusal.value.code == "E_BOMB"
    assert time.perf_counter() - started < 5


def test_numbers_are_numbers(tmp_path, make_slice):
    path = make_slice(tmp_path / "a.dcm", PIXELS)
    data = path.read_bytes().replace(b"-1024.0 ", b"1_024.0 ")
    other = tmp_path / "b.dcm"
    other.write_bytes(data)
    assert read_header(path).number(Tag.RESCALE_INTERCEPT) == -1024
    assert read_header(other).number(Tag.RESCALE_INTERCEPT) is None


@pytest.mark.parametrize("seed", range(8))
def test_mutated_files_are_read_or_refused_and_never_stop_a_scan(tmp_path, make_slice, seed):
    random = np.random.default_rng(seed)
    good = make_slice(
        tmp_path / "good.dcm", PIXELS, ReferencedStudySequence=sequence_of(2, undefined=True)
    ).read_bytes()
    for n in range(25):
        data = bytearray(good)
        for _ in range(random.integers(1, 5)):
            at = int(random.integers(128, len(data) - 8))
            kind = random.integers(3)
            if kind == 0:
                data[at] = int(random.integers(256))
            elif kind == 1:
                del data[at : at + int(random.integers(1, 4))]
            else:
                data[at:at] = random.bytes(int(random.integers(1, 4)))
        path = tmp_path / "mutated" / f"{n}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        _read(path)
    for study in scan_paths(NullContext(), [tmp_path / "mutated"]):
        for series in study.series:
            assert series.volume or series.warnings


def test_real_headers_agree_with_pydicom(shared_data: Path, tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(shared_data / "dicom" / "odd_and_codecs_pydicom.zip") as archive:
        archive.extractall(tmp_path)
    checked = 0
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        try:
            header = read_header(path)
        except InputError:
            continue
        slow = parse_with_pydicom(path, os.stat(path))
        for tag in WANTED - {Tag.TRANSFER_SYNTAX_UID}:
            assert header.text(tag) == slow.text(tag), (path.name, hex(tag))
        assert header.pixel_length == slow.pixel_length, path.name
        checked += 1
    assert checked > 80
