"""Stored pixels become real values once, exactly, in one array; lengths are checked before a byte is read."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels import apply_rescale
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medviewer.core.errors import DecodeError, InputError
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.native_pixels import Stack, candidate_types, load_stack
from medviewer.io.pixel_format import PixelFormat, check_native_length, pixel_format
from medviewer.io.reader import open_series
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()


def expected(paths):
    return np.stack([apply_rescale((ds := pydicom.dcmread(path)).pixel_array, ds) for path in paths])


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
@pytest.mark.parametrize(
    ("dtype", "low", "high", "elements", "result"),
    [
        (np.int16, -1000, 3000, {}, np.int16),
        (np.int16, -32768, 32767, {"RescaleIntercept": 0}, np.int16),
        (np.int16, -32768, 32767, {"RescaleIntercept": -1024}, np.int32),
        (np.uint16, 0, 4000, {}, np.int16),
        (np.uint16, 0, 65535, {"RescaleIntercept": 0}, np.int32),
        (np.uint16, 30000, 33000, {"RescaleIntercept": -1024}, np.int16),
        (np.uint8, 0, 255, {"RescaleIntercept": 0}, np.int16),
        (np.int8, -128, 127, {"RescaleIntercept": 3}, np.int16),
        (np.int32, -100_000, 100_000, {"RescaleIntercept": -5}, np.int32),
        (np.uint16, 0, 65535, {"RescaleSlope": 0.37, "RescaleIntercept": -12.5}, np.float32),
        (np.int16, -500, 500, {"RescaleSlope": -2, "RescaleIntercept": 1}, np.float32),
        (np.uint16, 0, 4000, {"RescaleSlope": None, "RescaleIntercept": None}, np.int16),
    ],
)
def test_voxels_equal_pydicom(tmp_path, make_series, load, syntax, dtype, low, high, elements, result):
    paths = make_series(3, dtype=dtype, low=low, high=high, syntax=syntax, **elements)
    volume = load(tmp_path)
    assert volume.array.dtype == result
    np.testing.assert_allclose(volume.array, expected(paths), rtol=1e-6, atol=1e-5)
    if result is not np.float32:
        np.testing.assert_array_equal(volume.array, expected(paths))
    assert not volume.array.flags.writeable


def test_rescale_is_per_slice(tmp_path, make_series, load):
    paths = make_series(4, each=lambda n: {"RescaleSlope": 1.0 + n, "RescaleIntercept": 10.0 * n})
    np.testing.assert_allclose(load(tmp_path).array, expected(paths), rtol=1e-6)


def test_intercept_per_slice_stays_integer(tmp_path, make_series, load):
    paths = make_series(4, each=lambda n: {"RescaleIntercept": -10 * n})
    volume = load(tmp_path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, expected(paths))


@given(st.integers(2, 16), st.booleans(), st.integers(0, 2**16 - 1))
def test_unused_high_bits_do_not_count(bits, signed, value):
    form = PixelFormat(1, 1, 16, bits, signed, big_endian=False, slope=1.0, intercept=0.0)
    stack = Stack([form], np.int32)
    stored = np.array([[value]], np.uint16)
    stack.place(0, stored.view(np.int16) if signed else stored)
    low = value & ((1 << bits) - 1)
    wanted = low - (1 << bits) if signed and low >> (bits - 1) else low
    assert int(stack.array[0, 0, 0]) == wanted


@given(
    st.sampled_from([8, 16]),
    st.booleans(),
    st.integers(-40_000, 40_000),
    st.lists(st.integers(), min_size=4, max_size=4),
)
def test_integers_are_exact_whatever_the_type(bits, signed, intercept, values):
    form = PixelFormat(2, 2, bits, bits, signed, big_endian=False, slope=1.0, intercept=float(intercept))
    low, high = form.stored_range
    stored = np.array([low + v % (high - low + 1) for v in values], f"{'i' if signed else 'u'}{bits // 8}").reshape(
        2, 2
    )

    class Source:
        def fill(self, ctx, stack, parts):
            for part in parts:
                for k in part:
                    stack.place(k, stored)
                yield part

    array = load_stack(CTX, [form] * 3, Source(), lambda a, c: None, lambda r: None)
    wanted = stored.astype(np.int64) + intercept
    assert (array == wanted).all()
    assert array.dtype == (np.int16 if wanted.min() >= -32768 and wanted.max() <= 32767 else np.int32)


def test_types_are_tried_from_the_smallest():
    form = PixelFormat(2, 2, 16, 12, signed=False, big_endian=False, slope=1.0, intercept=-1024.0)
    assert candidate_types([form]) == (np.int16,)


class TestFirstPicture:
    def test_the_middle_slice_comes_first_into_the_final_array(self, tmp_path, make_series):
        paths = make_series(7)
        (study,) = scan_paths(CTX, [tmp_path])
        wanted = expected(paths)
        seen = []

        def first(volume):
            np.testing.assert_array_equal(volume.array[3], wanted[3])
            assert not volume.array[0].any()
            assert not volume.array.flags.writeable
            seen.append(volume)

        regions = []
        volume = open_series(CTX, study.series[0], None, first, regions.append)
        assert seen == [volume]
        np.testing.assert_array_equal(volume.array, wanted)
        assert regions[0].slices[0] == slice(3, 4)
        covered = sorted(k for region in regions for k in range(region.lower[0], region.upper[0]))
        assert covered == list(range(7))

    def test_a_type_too_small_starts_again_with_a_new_volume(self, tmp_path, make_series):
        make_series(5, dtype=np.uint16, low=0, high=100, RescaleIntercept=0)
        big = np.full((6, 8), 60_000, np.uint16)
        path = tmp_path / "series" / "004.dcm"
        dataset = pydicom.dcmread(path)
        dataset.PixelData = big.tobytes()
        dataset.save_as(path)
        (study,) = scan_paths(CTX, [tmp_path])
        seen = []
        volume = open_series(CTX, study.series[0], None, seen.append)
        assert [v.array.dtype for v in seen] == [np.int16, np.int32]
        assert seen[-1] is volume
        assert (volume.array[4] == 60_000).all()

    def test_cancel_between_slices(self, tmp_path, make_series):
        make_series(40)
        (study,) = scan_paths(CTX, [tmp_path])

        class Cancelled(NullContext):
            def __init__(self):
                super().__init__()
                self.first = False

            def check_cancelled(self):
                if self.first:
                    raise JobCancelled

        ctx = Cancelled()
        with pytest.raises(JobCancelled):
            open_series(ctx, study.series[0], None, lambda v: setattr(ctx, "first", True))


class TestLength:
    def check(self, path):
        header = read_header(path)
        return check_native_length(header, pixel_format(header))

    def test_exact_and_padded(self, make_series):
        (path,) = make_series(1, dtype=np.uint8, shape=(3, 3), low=0, high=200, RescaleIntercept=0)
        assert self.check(path) is None

    @pytest.mark.parametrize("cut", [1, 48, 95])
    def test_file_ends_too_early(self, make_series, cut):
        (path,) = make_series(1)
        path.write_bytes(path.read_bytes()[:-cut])
        with pytest.raises(DecodeError) as refusal:
            self.check(path)
        assert refusal.value.code == "E_TRUNCATED"

    def test_element_shorter_than_declared_pixels(self, make_series):
        (path,) = make_series(1, Rows=60)
        with pytest.raises(DecodeError) as refusal:
            self.check(path)
        assert refusal.value.code == "E_PIXEL_LENGTH"
        assert "96 bytes of pixels where 960" in refusal.value.text

    def test_more_than_needed_is_named(self, tmp_path, make_series, load):
        make_series(3, Rows=5)
        volume = load(tmp_path)
        assert [w.code for w in volume.warnings] == ["W_EXTRA_PIXELS"]
        assert volume.array.shape == (3, 5, 8)

    def test_a_file_cut_after_the_scan_is_refused(self, tmp_path, make_series):
        paths = make_series(3)
        (study,) = scan_paths(CTX, [tmp_path])
        paths[0].write_bytes(paths[0].read_bytes()[:-20])
        with pytest.raises(InputError) as refusal:
            open_series(CTX, study.series[0])
        assert refusal.value.code == "E_TRUNCATED"

    def test_a_file_gone_after_the_scan_is_refused(self, tmp_path, make_series):
        paths = make_series(3)
        (study,) = scan_paths(CTX, [tmp_path])
        paths[0].unlink()
        with pytest.raises(InputError) as refusal:
            open_series(CTX, study.series[0])
        assert refusal.value.code == "E_FILE"


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"BitsStored": 0, "HighBit": 0}, "E_BITS"),
        ({"BitsStored": 12, "HighBit": 15}, "E_BITS"),
        ({"BitsAllocated": 24}, "E_BITS"),
        ({"Columns": 0}, "E_DIMENSIONS"),
        ({"PhotometricInterpretation": "RGB"}, "E_PHOTOMETRIC"),
    ],
)
def test_formats_that_make_no_sense_are_refused(make_series, elements, code):
    (path,) = make_series(1, **elements)
    with pytest.raises(DecodeError) as refusal:
        pixel_format(read_header(path))
    assert refusal.value.code == code
    assert path.name in refusal.value.text
