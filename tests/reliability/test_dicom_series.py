"""Bad and odd DICOM series, G01 to G27: no place is invented, nothing else is lost."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_rescale

from medviewer.core.geometry import Geometry
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import corner_error_mm, frames_and_positions
from medviewer.io.dicom_resample import planes_of
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import SHAPE, pixels, write_enhanced, write_slice
from tests.outcomes import Outcome

CTX = NullContext()


def place_error_mm(found: Outcome) -> float:
    """Return how far a slice corner of an opened volume lies from where its file says."""
    series = found.series.at_time(0)
    frames, positions = frames_and_positions(slice_headers(series))
    return corner_error_mm(found.volume.geometry, frames, positions, planes_of(series))


def write(tmp_path, positions, *, name="series", each=lambda n: {}, **elements):
    """Write slices at positions; `each(n)` gives elements of slice n, `pixels` among them."""
    paths = []
    for n, position in enumerate(positions):
        own = {"InstanceNumber": n + 1, **elements, **each(n)}
        picture = own.pop("pixels", pixels(n))
        paths.append(write_slice(tmp_path / name / f"{n:03d}.dcm", picture, position, **own))
    return paths


def line(*zs):
    return [(0.0, 0.0, float(z)) for z in zs]


@pytest.mark.parametrize("value", [None, [0.0, 0.0], [-1.0, 1.0], [1.0, 0.0]])
def test_G01_no_pixel_spacing(good, outcome, tmp_path, value):
    good(5, PixelSpacing=value)
    found = outcome(tmp_path)
    assert found.codes == {"W_NO_SPACING"}
    assert "mm" in found.text
    assert not found.volume.in_mm
    assert found.volume.stacking == "number"


def test_G02_no_position(good, outcome, tmp_path):
    paths = good(5, ImagePositionPatient=None)
    # Only the number says the order.
    for n, path in enumerate(paths):
        path.rename(path.with_name(f"{9 - n}.dcm"))
    found = outcome(tmp_path)
    assert found.codes == {"W_NO_POSITION"}
    assert [path.stem for path in found.series.files] == ["9", "8", "7", "6", "5"]
    assert (found.volume.stacking, found.volume.in_patient, found.volume.in_mm) == ("number", False, True)


@pytest.mark.parametrize(
    "value", [None, [0.0] * 6, [2.0, 0, 0, 0, 1, 0], [1.0, 0, 0, 1, 0, 0], [1.0, 0, 0, 0.5, 0.8, 0]]
)
def test_G03_bad_orientation(good, outcome, tmp_path, value):
    good(5, ImageOrientationPatient=value)
    found = outcome(tmp_path)
    assert found.codes == {"W_NO_POSITION"}
    assert (found.volume.stacking, found.volume.in_patient) == ("number", False)


def test_G04_duplicates(good, outcome, tmp_path):
    paths = good(5)
    alone = outcome(tmp_path)
    shutil.copy(paths[2], paths[2].with_name("copy.dcm"))
    found = outcome(tmp_path)
    assert found.codes == {"W_DUPLICATE"}
    assert found.digest == alone.digest


def test_G04_one_uid_different_pixels(good, all_outcomes, tmp_path):
    paths = good(5)
    uid = pydicom.dcmread(paths[2]).SOPInstanceUID
    write_slice(paths[2].with_name("other.dcm"), pixels(77), (0.0, 0.0, 4.0), SOPInstanceUID=uid, InstanceNumber=3)
    found = all_outcomes(tmp_path)
    assert all("W_UID_COLLISION" in part.codes for part in found)


@pytest.mark.parametrize(
    "keyword", ["TemporalPositionIdentifier", "EchoNumbers", "AcquisitionNumber", "FlipAngle", "InversionTime"]
)
def test_G05_one_place_several_contents(outcome, tmp_path, keyword):
    write(tmp_path, line(*[2 * (n % 5) for n in range(10)]), each=lambda n: {keyword: n // 5 + 1})
    found = outcome(tmp_path)
    assert found.state == "LOADED"
    assert found.volume.geometry.size[2] == 5
    assert place_error_mm(found) < 0.1
    points = [pixels(n) - 1024 for n in range(10)]
    np.testing.assert_array_equal(found.volume.time.arrays, [points[:5], points[5:]])


@pytest.mark.parametrize("elements", [
    {"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ConvolutionKernel": "sharp"}, {"RescaleType": "OD"},
])  # fmt: skip
def test_G05_other_kinds_of_picture_stay_apart(all_outcomes, tmp_path, elements):
    each = lambda n: {"AcquisitionNumber": n // 5 + 1, **(elements if n < 5 else {})}  # noqa: E731
    write(tmp_path, line(*[2 * (n % 5) for n in range(10)]), each=each)
    parts = all_outcomes(tmp_path)
    assert [part.volume.geometry.size[2] for part in parts] == [5, 5]
    assert all("W_SPLIT" in part.codes and part.volume.time is None for part in parts)
    assert all(place_error_mm(part) < 0.1 for part in parts)


@pytest.mark.parametrize("positions", [
    [*line(0, 2, 4, 6, 8), *line(0, 2, 4, 6)], [*line(0, 2, 4, 6, 8), *line(0, 4, 8, 12, 16)],
    [*line(0, 2, 4, 6, 8), *line(1, 3, 5, 7, 9)],
])  # fmt: skip
def test_G05_points_on_other_grids_stay_apart(all_outcomes, tmp_path, positions):
    write(tmp_path, positions, each=lambda n: {"TemporalPositionIdentifier": n // 5 + 1})
    parts = all_outcomes(tmp_path)
    assert all(part.volume.time is None and place_error_mm(part) < 0.1 for part in parts)
    assert sum(part.volume.geometry.size[2] for part in parts) == len(positions)


def test_G05_nothing_tells_apart(all_outcomes, tmp_path):
    write(tmp_path, line(*[2 * (n % 5) for n in range(10)]))
    parts = all_outcomes(tmp_path)
    assert all({"W_AMBIGUOUS", "W_SPLIT"} <= part.codes for part in parts)
    assert {part.volume.geometry.spacing[2] for part in parts} == {2.0}


def true_slices_stand_unchanged(part: Outcome) -> bool:
    """Whether every file's own values are in the volume, in the plane that is at its place."""
    wanted = [pydicom.dcmread(path).pixel_array.astype(int) - 1024 for path in part.series.files]
    return np.array_equal(part.volume.array[list(planes_of(part.series))], wanted)


@pytest.mark.parametrize("zs", [(0, 2, 4, 8, 10), (0, 2, 4, 6, 12, 14)])
def test_G06_missing_slice(all_outcomes, tmp_path, zs):
    write(tmp_path, line(*zs))
    parts = all_outcomes(tmp_path)
    assert all("W_MISSING_SLICE" in part.codes and "mm" in part.text for part in parts)
    assert all(place_error_mm(part) < 0.1 and true_slices_stand_unchanged(part) for part in parts)
    exact = [part for part in parts if not part.series.interpolation]
    assert sum(part.volume.geometry.size[2] for part in exact) == len(zs)
    for part in parts[len(exact) :]:
        assert "W_RESAMPLED" in part.codes
        assert part.volume.geometry.spacing[2] == pytest.approx(2.0)
        assert list(planes_of(part.series)) == [z // 2 for z in zs]


def test_G07_uneven_spacing(all_outcomes, tmp_path):
    write(tmp_path, line(0, 1.1, 2.9, 7.3, 8.0, 15.1, 16.2, 20.0, 27.3, 31.0, 38.8))
    *computed, refused = all_outcomes(tmp_path)
    assert refused.codes == {"E_UNEVEN_SPACING"}
    assert [part.series.interpolation for part in computed] == ["linear", "nearest"]
    for part in computed:
        assert {"W_UNEVEN_SPACING", "W_RESAMPLED"} <= part.codes
        assert part.series.interpolation in part.series.title
        assert place_error_mm(part) < 0.1
        assert true_slices_stand_unchanged(part)


@pytest.mark.parametrize("degrees", [14.0, 16.5, 18.5])
def test_G08_gantry_tilt(outcome, tmp_path, degrees):
    angle = np.radians(degrees)
    orientation = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle))]
    write(tmp_path, line(*range(0, 30, 3)), ImageOrientationPatient=orientation)
    found = outcome(tmp_path)
    assert found.codes == {"W_TILT"}
    assert f"{degrees:.1f}" in found.text
    assert place_error_mm(found) < 0.1


def test_G09_tilt_and_missing_slice(all_outcomes, tmp_path):
    angle = np.radians(16.5)
    orientation = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle))]
    write(tmp_path, line(0, 3, 6, 12, 15, 18), ImageOrientationPatient=orientation)
    parts = all_outcomes(tmp_path)
    assert [part.series.interpolation for part in parts] == ["", "", "linear", "nearest"]
    for part in parts:
        assert {"W_TILT", "W_MISSING_SLICE"} <= part.codes
        assert place_error_mm(part) < 0.1
        assert true_slices_stand_unchanged(part)


PLANES = ([1.0, 0, 0, 0, 1, 0], [0.0, 1, 0, 0, 0, -1], [1.0, 0, 0, 0, 0, -1])


def test_G10_three_plane_localizer(all_outcomes, tmp_path):
    write(
        tmp_path, [(n % 3 * 5.0, n % 3 * 5.0, n % 3 * 5.0) for n in range(9)], ImageType=["ORIGINAL", "LOCALIZER"],
        each=lambda n: {"ImageOrientationPatient": PLANES[n // 3]},
    )  # fmt: skip
    parts = all_outcomes(tmp_path)
    assert len(parts) == 3
    assert all({"W_LOCALIZER", "W_SPLIT"} <= part.codes and place_error_mm(part) < 0.1 for part in parts)
    named = [part.series.description.rpartition(", ")[2] for part in parts]
    assert sorted(named) == ["axial]", "coronal]", "sagittal]"]


def test_G11_two_orientations(all_outcomes, tmp_path):
    write(
        tmp_path, [*line(*range(5)), *[(float(n), 0.0, 0.0) for n in range(5)]],
        each=lambda n: {"ImageOrientationPatient": PLANES[n // 5]},
    )  # fmt: skip
    parts = all_outcomes(tmp_path)
    assert len(parts) == 2
    assert all("W_SPLIT" in part.codes for part in parts)


@pytest.mark.parametrize("each", [
    lambda n: {"PixelSpacing": [0.7 + 0.1 * (n // 5)] * 2},
    lambda n: {"pixels": pixels(n)[: 32 - 8 * (n // 5)]},
])  # fmt: skip
def test_G12_sizes_and_spacings_differ(all_outcomes, tmp_path, each):
    write(tmp_path, line(*range(10)), each=each)
    parts = all_outcomes(tmp_path)
    assert [part.volume.geometry.size[2] for part in parts] == [5, 5]


def test_G13_frames_of_reference_differ(all_outcomes, tmp_path):
    write(tmp_path, line(*range(10)), each=lambda n: {"FrameOfReferenceUID": f"1.2.3.{n // 5}"})
    parts = all_outcomes(tmp_path)
    assert [part.series.frame_of_reference_uid for part in parts] == ["1.2.3.0", "1.2.3.1"]


@pytest.mark.parametrize("count", [1, 2])
def test_G14_few_slices(good, outcome, tmp_path, count):
    good(count)
    found = outcome(tmp_path)
    assert found.volume.geometry.size[2] == count
    assert found.codes == ({"W_SINGLE_SLICE"} if count == 1 else set())


def test_G15_order_is_that_of_places(outcome, tmp_path):
    order = [8, 2, 4, 0, 6]
    write(tmp_path, line(*order))
    found = outcome(tmp_path)
    for k, z in enumerate(sorted(order)):
        np.testing.assert_array_equal(found.volume.array[k], pixels(order.index(z)) - 1024)


@pytest.mark.parametrize("orientation", [
    *PLANES, [-1.0, 0, 0, 0, -1, 0], [-1.0, 0, 0, 0, 1, 0], [0.0, -1, 0, 1, 0, 0], [0.0, 1, 0, -1, 0, 0],
    [0.8, 0.6, 0, 0, 0, -1], [0.8, 0.0, 0.6, 0, 1, 0],
])  # fmt: skip
def test_G16_orientations(outcome, tmp_path, orientation):
    normal = np.cross(orientation[:3], orientation[3:])
    write(tmp_path, [tuple(np.array([9.0, -7.0, 5.0]) - 1.5 * n * normal) for n in range(4)],
          ImageOrientationPatient=orientation)  # fmt: skip
    found = outcome(tmp_path)
    assert place_error_mm(found) < 1e-3
    np.testing.assert_array_equal(found.volume.array[-1], pixels(0) - 1024)


def test_G17_mosaic(good, outcome, tmp_path):
    good(3, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    found = outcome(tmp_path)
    assert found.codes == {"E_MOSAIC"}
    assert "mosaic" in found.text.lower()


def test_G18_enhanced_multiframe_in_time(outcome, tmp_path):
    order = [3, 0, 2, 1]
    pictures = np.stack([pixels(n, np.uint16) for n in range(8)])
    write_enhanced(
        tmp_path / "a.dcm", pictures, line(*(order + order)),
        groups=lambda n: {"FrameContentSequence": {"TemporalPositionIndex": n // 4 + 1}},
    )  # fmt: skip
    found = outcome(tmp_path)
    assert found.state == "LOADED"
    assert place_error_mm(found) < 1e-6
    assert found.series.time_labels == ("time point 1", "time point 2")
    for t, array in enumerate(found.volume.time.arrays):
        np.testing.assert_array_equal(array, pictures[[4 * t + order.index(k) for k in range(4)]])


def test_G19_pixels_that_are_not_square(good, outcome, tmp_path):
    good(3, PixelSpacing=[0.5, 1.5])
    assert outcome(tmp_path).volume.geometry.spacing == (1.5, 0.5, 2.0)


def test_G20_signed_and_unsigned_twins(all_outcomes, outcome, tmp_path):
    write(tmp_path, line(0, 2, 4), name="a")
    twin = outcome(tmp_path / "a")
    write(tmp_path, line(0, 2, 4), name="b", each=lambda n: {"pixels": pixels(n).astype([np.int16, np.uint16][n % 2])})
    assert outcome(tmp_path / "b").digest == twin.digest


@pytest.mark.parametrize(("dtype", "slope", "intercept"), [
    (np.int16, 0.25, -3.5), (np.uint16, 1.0, -1024.0), (np.uint8, -1.0, 255.0), (np.int16, 1e-4, 0.0),
    (np.uint16, 2.0, 32768.0),
])  # fmt: skip
def test_G21_rescale_of_each_slice(outcome, tmp_path, dtype, slope, intercept):
    paths = write(
        tmp_path, line(0, 2, 4), Modality="PT",
        each=lambda n: {
            "pixels": pixels(n, dtype, 200), "RescaleSlope": slope * (n + 1), "RescaleIntercept": intercept
        },
    )  # fmt: skip
    wanted = [apply_rescale(pydicom.dcmread(path).pixel_array, pydicom.dcmread(path)) for path in paths]
    np.testing.assert_allclose(outcome(tmp_path).volume.array, wanted, rtol=1e-6, atol=1e-6)


def test_G21_slope_zero_and_missing(good, outcome, tmp_path):
    good(3, RescaleSlope=0, RescaleIntercept=-7)
    found = outcome(tmp_path)
    assert found.codes == {"W_SLOPE_ZERO"}
    assert "3 of 3 slices" in found.text
    assert set(found.volume.array.ravel()) == {-7.0}
    good(3, RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(outcome(tmp_path).volume.array[1], pixels(1))


def test_G22_monochrome1_keeps_its_values(good, outcome, tmp_path):
    good(3)
    twin = outcome(tmp_path)
    good(3, PhotometricInterpretation="MONOCHROME1")
    found = outcome(tmp_path)
    assert found.volume.inverted
    assert found.digest == twin.digest


def test_G23_colour_of_fewer_bytes_is_refused(good, outcome, tmp_path):
    good(1, SamplesPerPixel=3, PhotometricInterpretation="RGB", dtype=np.uint8, high=200)
    assert outcome(tmp_path).codes == {"E_PIXEL_LENGTH"}


def test_G24_modality_lut(good, outcome, tmp_path):
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [2000, 0, 16])
    table.add_new("LUTData", "US", [3 * v for v in range(2000)])
    table.ModalityLUTType = "HU"
    good(3, dtype=np.uint16, ModalityLUTSequence=[table])
    found = outcome(tmp_path)
    assert found.state == "LOADED"
    np.testing.assert_array_equal(found.volume.array[1], 3.0 * pixels(1))


@pytest.mark.parametrize(("center", "width"), [("-2147483648", "2147483647"), ("nan", "inf"), ("40", "0"), ("40", "x"),
                                               ("", ""), ("1e308", "1e308"), ("40", "-5")])  # fmt: skip
def test_G24_windows(one, outcome, center, width):
    path = one()
    dataset = pydicom.dcmread(path)
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    dataset.add_new("WindowCenter", "LO", center)
    dataset.add_new("WindowWidth", "LO", width)
    dataset.save_as(path)
    found = outcome(path)
    assert found.codes == {"W_SINGLE_SLICE", "W_WINDOW"} if center else {"W_SINGLE_SLICE"}
    assert found.volume.window is None


def test_G25_padding(good, outcome, tmp_path):
    good(3, PixelPaddingValue=-2000)
    assert outcome(tmp_path).volume.padding == -3024.0


OTHERS = {
    "1.2.840.10008.5.1.4.1.1.88.22": "SR", "1.2.840.10008.5.1.4.1.1.11.1": "PR", "1.2.840.10008.5.1.4.1.1.88.59": "KO",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.5": "RTPLAN",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE", "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.30": "PM", "1.2.840.10008.5.1.4.1.1.9.1.1": "ECG",
    "1.2.840.10008.5.1.4.1.1.104.1": "DOC", "1.2.840.10008.5.1.4.1.1.104.3": "M3D",
}  # fmt: skip


def test_G26_other_objects_beside_a_series(good, all_outcomes, tmp_path):
    good(5)
    alone = {found.digest for found in all_outcomes(tmp_path)}
    for n, (uid, modality) in enumerate(OTHERS.items()):
        good(1, folder=f"o{n}", SOPClassUID=uid, Modality=modality, SeriesInstanceUID=f"1.8.{n}", SeriesNumber=n + 2)
    found = all_outcomes(tmp_path)
    assert len(found) == 1 + len(OTHERS)
    assert {part.digest for part in found if part.state != "REFUSED"} == alone
    refused = [part for part in found if part.state == "REFUSED"]
    # These have grids of their own, which here are broken.
    codes = {part.series.modality: part.codes for part in refused if part.series.modality in ("RTDOSE", "PM")}
    assert codes == {"RTDOSE": {"E_RESCALE"}, "PM": {"E_NO_POSITION"}}
    assert all(part.codes == {"E_NOT_IMAGE"} for part in refused if part.series.modality not in codes)


def test_a_worker_is_started_when_none_is_given(good, tmp_path):
    path = good(1)[0]
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    (study,) = scan(CTX, [tmp_path]).studies
    assert open_series(CTX, study.series[0]).array.shape == (1, *SHAPE)


def test_the_measure_of_place_error_sees_a_shift(good, outcome, tmp_path):
    good(5)
    found = outcome(tmp_path)
    grid = found.volume.geometry
    shifted = Geometry(grid.size, grid.spacing, (grid.origin[0] + 1.0, *grid.origin[1:]), grid.direction)
    frames, positions = frames_and_positions(slice_headers(found.series))
    assert corner_error_mm(shifted, frames, positions) == pytest.approx(1.0)
