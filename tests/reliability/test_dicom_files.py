"""Bad DICOM files, D01 to D30: each is LOADED, LOADED with a warning, or REFUSED with what to do next."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import psutil
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medviewer.core.errors import InputError
from medviewer.io.dicom_scan import scan
from medviewer.jobs.job import NullContext
from tests.dicom_makers import SHAPE, pixels
from tests.dicom_mutators import (
    body_start,
    deflated,
    element,
    mutants,
    place_of,
    planted,
    with_element,
    with_syntax,
    with_us,
    without_meta,
)  # fmt: skip
from tests.outcomes import Outcome

PIXEL_DATA = 0x7FE00010
NEEDED = SHAPE[0] * SHAPE[1] * 2


def loaded(found: Outcome, *codes: str) -> Outcome:
    """Check that it was opened, with these warnings and no others."""
    assert found.state != "REFUSED", str(found)
    assert found.codes - {"W_SINGLE_SLICE"} == set(codes), str(found)
    return found


def refused(found: Outcome, *codes: str) -> Outcome:
    """Check that it was refused with one of these codes."""
    assert found.state == "REFUSED", str(found)
    assert found.codes <= set(codes), str(found)
    return found


def with_pixel_bytes(data: bytes, value: bytes) -> bytes:
    return data[: place_of(data, PIXEL_DATA)] + element(PIXEL_DATA, b"OW", value)


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
def test_D01_file_cut(good, outcome, all_outcomes, tmp_path, percent):
    paths = good(5)
    data = paths[2].read_bytes()
    single = planted(tmp_path, "alone/cut.dcm", data[: len(data) * percent // 100])
    assert "cut.dcm" in refused(outcome(single), "E_TRUNCATED").text
    paths[2].write_bytes(single.read_bytes())
    parts = all_outcomes(tmp_path / "series")
    exact = [part for part in parts if not part.series.interpolation]
    assert sum(part.volume.array.shape[0] for part in exact) == 4
    # The four that are left are offered as one volume too.
    assert {len(part.series.files) for part in parts if part.series.interpolation} == {4}
    assert all({"W_UNREADABLE", "W_MISSING_SLICE"} <= part.codes for part in parts)


@pytest.mark.parametrize("size", [0, 2, 16, NEEDED // 2, NEEDED - 2])
def test_D02_pixel_data_shorter_than_declared(one, outcome, size):
    path = one()
    data = path.read_bytes()
    path.write_bytes(with_pixel_bytes(data, b"\1" * size))
    refused(outcome(path), "E_PIXEL_LENGTH")
    path.write_bytes(with_us(with_us(data, 0x00280010, 4096), 0x00280011, 4096))
    refused(outcome(path), "E_PIXEL_LENGTH")


def test_D02_short_real_file(shared_data, all_outcomes, tmp_path):
    path = real_file(shared_data, "MR_truncated.dcm", tmp_path)
    (found,) = all_outcomes(path)
    refused(found, "E_TRUNCATED", "E_PIXEL_LENGTH")


def test_D03_pixel_data_longer_than_needed(one, outcome):
    path = one(dtype=np.uint8, high=200)
    data = path.read_bytes()
    value = data[place_of(data, PIXEL_DATA) + 12 :]
    once = loaded(outcome(path))
    path.write_bytes(with_pixel_bytes(data, value + b"\0\0")[:-1])
    path.write_bytes(data[: place_of(data, PIXEL_DATA)] + element(PIXEL_DATA, b"OB", value + b"\0"))
    assert loaded(outcome(path)).digest == once.digest
    path.write_bytes(data[: place_of(data, PIXEL_DATA)] + element(PIXEL_DATA, b"OB", value * 10))
    assert loaded(outcome(path), "W_EXTRA_PIXELS").digest == once.digest


def test_D04_no_pixel_data(good, all_outcomes, tmp_path):
    good(5)
    path = good(1, folder="other", SeriesInstanceUID="1.9")[0]
    data = path.read_bytes()
    planted(tmp_path, "series/none.dcm", data[: place_of(data, PIXEL_DATA)])
    shutil.rmtree(path.parent)
    empty, stack = sorted(all_outcomes(tmp_path), key=lambda found: found.state, reverse=True)
    loaded(stack)
    refused(empty, "E_NO_PIXELS")


def test_D05_zero_byte_file(good, outcome, tmp_path):
    refused(outcome(planted(tmp_path, "empty/zero.dcm", b"")), "E_NOT_DICOM")
    shutil.rmtree(tmp_path / "empty")
    good(5)
    planted(tmp_path, "series/zero.dcm", b"")
    loaded(outcome(tmp_path))
    assert scan(NullContext(), [tmp_path]).skipped == {"other files": 1}


def test_D06_other_files_are_counted(good, outcome, tmp_path):
    good(5)
    noise = np.random.default_rng(1).bytes(5000)
    for name in ("noise.dcm", ".DS_Store", "Thumbs.db", "key.pfx"):
        planted(tmp_path, f"series/{name}", noise)
    planted(tmp_path, "series/a.pdf", b"%PDF-1.7\n" + noise)
    planted(tmp_path, "series/b.zip", b"PK\x03\x04" + noise)
    loaded(outcome(tmp_path))
    assert sum(scan(NullContext(), [tmp_path]).skipped.values()) == 6


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_D07_no_preamble_no_meta(one, outcome, syntax):
    path = one(syntax=pydicom.uid.UID(syntax))
    twin = outcome(path)
    path.write_bytes(without_meta(path.read_bytes()))
    assert loaded(outcome(path), "W_NO_META").digest == twin.digest


def test_D08_missing_transfer_syntax(one, outcome):
    path = one()
    twin = outcome(path)
    path.write_bytes(with_syntax(path.read_bytes(), b""))
    assert loaded(outcome(path), "W_GUESSED_SYNTAX").digest == twin.digest


def test_D08_wrong_group_length(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    path.write_bytes(data[:140] + struct.pack("<I", 7) + data[144:])
    assert loaded(outcome(path)).digest == twin.digest


@pytest.mark.parametrize(("true", "declared"), [("1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"),
                                                ("1.2.840.10008.1.2.1", b"1.2.840.10008.1.2")])  # fmt: skip
def test_D09_declares_one_body_is_the_other(one, outcome, true, declared):
    path = one(syntax=pydicom.uid.UID(true))
    twin = outcome(path)
    path.write_bytes(with_syntax(path.read_bytes(), declared))
    assert loaded(outcome(path), "W_GUESSED_SYNTAX").digest == twin.digest


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_D10_big_endian_equals_its_twin(good, outcome, dtype):
    high = 200 if dtype is np.uint8 else 2000
    twin = outcome(good(3, dtype=dtype, high=high)[0].parent)
    other = outcome(good(3, dtype=dtype, high=high, syntax=pydicom.uid.ExplicitVRBigEndian)[0].parent)
    assert loaded(other).digest == loaded(twin).digest


def test_D11_deflated_equals_its_twin(one, outcome):
    path = one()
    twin = outcome(path)
    path.write_bytes(deflated(path.read_bytes()))
    assert loaded(outcome(path)).digest == twin.digest


@pytest.mark.parametrize("where", ["pixels", "behind the pixels", "before the pixels"])
def test_D12_deflate_bomb(one, outcome, where):
    path = one()
    data = path.read_bytes()
    zeros = b"\0" * (400 * 2**20)
    if where == "pixels":
        bomb = deflated(with_pixel_bytes(data, b"")[:-4] + struct.pack("<I", len(zeros)), zeros)
    elif where == "behind the pixels":
        bomb = deflated(data + element(0xFFFCFFFC, b"OB", b"")[:-4] + struct.pack("<I", len(zeros)), zeros)
    else:
        head = element(0x00091010, b"OB", b"")[:-4] + struct.pack("<I", len(zeros))
        bomb = deflated(data[: place_of(data, 0x00100010)] + head, zeros)
    del zeros
    assert len(bomb) < 600_000
    path.write_bytes(bomb)
    before = psutil.Process().memory_info().rss
    refused(outcome(path, within=2.0), "E_BOMB")
    assert psutil.Process().memory_info().rss - before < 300 * 2**20


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_D13_lossless_codecs_equal_the_source(good, outcome, syntax):
    paths = good(3)
    twin = outcome(paths[0].parent)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)
    assert loaded(outcome(paths[0].parent)).digest == twin.digest


def encapsulated(path, syntax, fragments, **kwargs):
    """Write encapsulated pixel data into a file."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate(fragments, **kwargs)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)


def test_D13_unsupported_codec_is_named(one, outcome):
    path = one()
    encapsulated(path, MPEG4HP41, [b"\0" * 64])
    assert "MPEG" in refused(outcome(path), "E_CODEC").text


def rle(path):
    """Return the RLE stream of a file's picture."""
    from pydicom.encaps import generate_frames

    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def test_D14_fragments_with_an_embedded_delimiter(one, outcome):
    path = one()
    twin = outcome(path)
    stream = rle(path)
    encapsulated(path, RLELossless, [stream + b"\xfe\xff\xdd\xe0\0\0\0\0"])
    assert loaded(outcome(path)).digest == twin.digest


@pytest.mark.parametrize("spoil", ["offset table", "no delimiter", "fragment too long", "split", "not a fragment"])
def test_D14_broken_fragments(one, outcome, spoil):
    path = one()
    twin = outcome(path)
    stream = rle(path)
    if spoil == "split":
        encapsulated(path, RLELossless, [stream], fragments_per_frame=4)
    else:
        encapsulated(path, RLELossless, [stream])
    data = path.read_bytes()
    at = place_of(data, PIXEL_DATA) + 12
    if spoil == "offset table":
        data = data[: at + 8] + struct.pack("<I", 12345) + data[at + 12 :]
    elif spoil == "no delimiter":
        data = data[:-8]
    elif spoil == "fragment too long":
        data = data[: at + 16] + struct.pack("<I", 2**31) + data[at + 20 :]
    elif spoil == "not a fragment":
        data = data[: at + 12] + b"\1\2\3\4" + data[at + 16 :]
    path.write_bytes(data)
    found = outcome(path)
    assert found.digest == twin.digest or refused(found, "E_CODEC", "E_TRUNCATED", "E_PIXEL_LENGTH")


def test_D15_pixel_representation_differs_from_the_stream(one, outcome):
    path = one()
    dataset = pydicom.dcmread(path)
    dataset.PixelData = (pixels() - 700).astype("<i2").tobytes()
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.save_as(path)
    truth = loaded(outcome(path))
    assert truth.volume.array.min() == -700 - 1024 + pixels().min()
    path.write_bytes(with_us(path.read_bytes(), 0x00280103, 0))
    found = outcome(path)
    assert found.state == "REFUSED" or "W_PIXELREP" in found.codes, str(found)


def test_D15_stream_too_short(one, outcome):
    path = one()
    dataset = pydicom.dcmread(path)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    from pydicom.encaps import generate_frames

    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    encapsulated(path, JPEG2000Lossless, [stream[: len(stream) // 3]])
    refused(outcome(path), "E_CODEC")


def test_D16_rle_with_zero_segments(one, outcome):
    path = one()
    encapsulated(path, RLELossless, [b"\0" * 64])
    refused(outcome(path), "E_CODEC", "E_DECODER_CRASHED")
    encapsulated(path, RLELossless, [struct.pack("<16I", 2, *([0xFFFFFFFF] * 15)) + b"\x80" * 32])
    refused(outcome(path), "E_CODEC", "E_DECODER_CRASHED")


def test_D16_mutated_rle_never_ends_the_program(one, outcome, all_outcomes):
    path = one()
    encapsulated(path, RLELossless, [rle(path)])
    data = path.read_bytes()
    at = place_of(data, PIXEL_DATA)
    for n, spoiled in enumerate(mutants(data[at:], 40, seed=16)):
        path.with_name(f"{n}.dcm").write_bytes(data[:at] + spoiled)
    for n in range(40):
        all_outcomes(path.with_name(f"{n}.dcm"))


@pytest.mark.parametrize("vr", [b"ZZ", b"NO", b"\0\0", b"??"])
def test_D17_unknown_vr(one, outcome, vr):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    path.write_bytes(with_element(data, 0x00100020, element(0x00100011, vr, b"abcd")))
    found = outcome(path)
    assert found.digest == twin.digest or refused(found, "E_DICOM", "E_NO_PIXELS")


def nested(depth: int, *, defined: bool) -> bytes:
    """Return a private sequence of one item in one item, and so on."""
    inner = b""
    for _ in range(depth):
        if defined:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
            inner = element(0x00091010, b"SQ", item)
        else:
            head = struct.pack("<HH2sHI", 0x0009, 0x1010, b"SQ", 0, 0xFFFFFFFF)
            inner = (
                head + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner
                + struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
            )  # fmt: skip
    return inner


@pytest.mark.parametrize("depth", [10, 500, 5000])
@pytest.mark.parametrize("defined", [True, False])
def test_D19_deep_nesting(one, outcome, depth, defined):
    path = one()
    twin = outcome(path)
    path.write_bytes(with_element(path.read_bytes(), 0x00100010, nested(depth, defined=defined)))
    found = outcome(path)
    assert found.digest == twin.digest or refused(found, "E_TOO_DEEP")


def test_D19_a_thousand_items_and_no_delimiter(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 1000
    path.write_bytes(with_element(data, 0x00100010, element(0x00091010, b"SQ", items)))
    assert outcome(path).digest == twin.digest
    head = struct.pack("<HH2sHI", 0x0009, 0x1010, b"SQ", 0, 0xFFFFFFFF)
    path.write_bytes(with_element(data, 0x00100010, head + items))
    refused(outcome(path), "E_DICOM", "E_TRUNCATED", "E_NO_PIXELS")


@pytest.mark.parametrize(("rows", "columns"), [(0, 40), (32, 0), (0, 0), (65535, 65535), (65535, 40)])
def test_D20_rows_and_columns(one, outcome, rows, columns):
    path = one()
    path.write_bytes(with_us(with_us(path.read_bytes(), 0x00280010, rows), 0x00280011, columns))
    refused(outcome(path, within=1.0), "E_DIMENSIONS", "E_PIXEL_LENGTH")


def test_D20_rows_as_ul(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    at = place_of(data, 0x00280010)
    path.write_bytes(data[:at] + element(0x00280010, b"UL", struct.pack("<I", SHAPE[0])) + data[at + 10 :])
    found = outcome(path)
    assert found.digest == twin.digest or refused(found, "E_DIMENSIONS")


@pytest.mark.parametrize("frames", ["0", "999999", "-1", "x", "1.5", "99999999999"])
def test_D21_number_of_frames(one, outcome, frames):
    path = one()
    data = path.read_bytes()
    path.write_bytes(with_element(data, 0x00280010, element(0x00280008, b"IS", frames.encode().ljust(12))))
    refused(outcome(path, within=1.0), "E_DIMENSIONS", "E_PIXEL_LENGTH")


@pytest.mark.parametrize(
    ("allocated", "stored", "high"),
    [
        (16, 17, 16),
        (16, 0, 0),
        (16, 0, 65535),
        (16, 12, 3),
        (24, 24, 23),
        (64, 64, 63),
        (0, 0, 0),
        (12, 12, 11),
        (7, 7, 6),
    ],
)
def test_D22_bits(one, outcome, allocated, stored, high):
    path = one()
    data = path.read_bytes()
    for tag, value in ((0x00280100, allocated), (0x00280101, stored), (0x00280102, high)):
        data = with_us(data, tag, value)
    path.write_bytes(data)
    refused(outcome(path), "E_BITS")


def test_D22_one_bit(one, outcome):
    path = one(dtype=np.uint8, high=2)
    bits = pixels(0, np.uint8, 2)
    data = path.read_bytes()
    for tag, value in ((0x00280100, 1), (0x00280101, 1), (0x00280102, 0)):
        data = with_us(data, tag, value)
    path.write_bytes(with_pixel_bytes(data, np.packbits(bits, bitorder="little").tobytes()))
    np.testing.assert_array_equal(loaded(outcome(path)).volume.array[0], bits.astype(int) - 1024)


@pytest.mark.parametrize("photometric", ["", "NONSENSE", "RGB", "YBR_FULL", "MONOCHROME3"])
def test_D23_photometric_interpretation(one, outcome, photometric):
    path = one(PhotometricInterpretation=photometric)
    refused(outcome(path), "E_PHOTOMETRIC")


def test_D24_duplicate_elements(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    path.write_bytes(with_element(data, 0x00280011, element(0x00280010, b"US", b"\x05\0")))
    found = outcome(path)
    assert found.digest == twin.digest or found.state == "REFUSED"


def test_D24_out_of_order_and_group_zero(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    late = element(0x00080070, b"LO", b"ACME")
    path.write_bytes(with_element(data, 0x00280010, late))
    assert outcome(path).digest == twin.digest
    start = body_start(data)
    path.write_bytes(data[:start] + element(0x00000000, b"UL", b"\4\0\0\0") + data[start:])
    found = outcome(path)
    assert found.digest == twin.digest or found.state == "REFUSED"


def test_D24_odd_length(one, outcome):
    path = one()
    twin = outcome(path)
    path.write_bytes(with_element(path.read_bytes(), 0x00100010, element(0x00091010, b"LO", b"abc")))
    assert outcome(path).digest == twin.digest


def test_D27_private_elements(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    creator = element(0x00290010, b"LO", b"SIEMENS CSA HEADER")
    blob = element(0x00291010, b"OB", b"SV10" + b"\4\3\2\1" * 200) + element(0x00291020, b"UN", b"x" * 101 + b"\0")
    deep = element(0x00291030, b"UN", struct.pack("<HHI", 0xFFFE, 0xE000, 8) + b"\x08\0\x60\0\2\0\0\0MR"[:8])
    at = place_of(data, PIXEL_DATA)
    path.write_bytes(data[:at] + creator + blob + deep + data[at:])
    assert outcome(path).digest == twin.digest


def test_D28_overlays(one, outcome):
    path = one()
    twin = outcome(path)
    data = path.read_bytes()
    overlay = (
        element(0x60000010, b"US", b"\xff\x7f") + element(0x60000011, b"US", b"\xff\x7f")
        + element(0x60000050, b"SS", b"\x00\x80\xff\x7f") + element(0x60003000, b"OW", b"\xff" * 16)
    )  # fmt: skip
    path.write_bytes(with_element(data, PIXEL_DATA, overlay))
    assert outcome(path).digest == twin.digest


def test_D28_overlay_in_the_high_bits(one, outcome):
    path = one(dtype=np.uint16, BitsStored=12)
    twin = outcome(path)
    data = path.read_bytes()
    spoiled = np.frombuffer(data[-NEEDED:], "<u2") | np.uint16(0x8000)
    path.write_bytes(data[:-NEEDED] + spoiled.tobytes())
    assert loaded(outcome(path)).digest == twin.digest


@pytest.mark.parametrize("start", [b"MZ\x90\0", b"\x7fELF", b'{"a":1}', b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe"])
def test_D29_preamble_of_another_program(one, outcome, start):
    path = one()
    twin = outcome(path)
    path.write_bytes(start.ljust(128, b"\1") + path.read_bytes()[128:])
    assert loaded(outcome(path), "W_PREAMBLE").digest == twin.digest


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.999", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.104.1"])
def test_D30_unknown_sop_class(good, all_outcomes, tmp_path, uid):
    good(5)
    path = good(1, folder="other", SOPClassUID=uid, SeriesInstanceUID="1.9")[0]
    data = path.read_bytes()
    path.write_bytes(data[: place_of(data, PIXEL_DATA)])
    other, stack = sorted(all_outcomes(tmp_path), key=lambda found: found.state, reverse=True)
    loaded(stack)
    refused(other, "E_NOT_IMAGE")
    assert "type" in other.text or "PDF" in other.text


def real_file(shared_data, name, tmp_path):
    """Unpack one file of the real odd ones."""
    import zipfile

    with zipfile.ZipFile(shared_data / "dicom" / "odd_and_codecs_pydicom.zip") as archive:
        member = next(m for m in archive.namelist() if m.endswith(f"/{name}"))
        return planted(tmp_path, name, archive.read(member))


@pytest.mark.parametrize(
    ("name", "code"),
    [("MR_small_padded.dcm", "W_EXTRA_PIXELS"), ("badVR.dcm", "E_DIMENSIONS"), ("image_dfl.dcm", "W_NO_SPACING")],
)
def test_real_odd_files(shared_data, outcome, tmp_path, name, code):
    assert code in outcome(real_file(shared_data, name, tmp_path)).codes


def test_a_path_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError):
        scan(NullContext(), [tmp_path / "none"])
