"""Opening: what the volume says about itself, the chain of readers, compressed series in the worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_rescale
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.errors import DecodeError, InputError, WorkerDied
from medviewer.io.decode_task import decode_slices
from medviewer.io.decoders import CHAINS, available_decoders
from medviewer.io.dicom_resample import planes_of
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series, readers
from medviewer.jobs.job import NullContext

CTX = NullContext()


def compress(paths: list[Path], syntax: str) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)


def test_the_volume_says_what_the_series_is(tmp_path, make_series, load):
    make_series(
        3, WindowCenter=[40, 50], WindowWidth=[400, 500], PixelPaddingValue=-2000, BodyPartExamined="CHEST",
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    volume = load(tmp_path)
    assert (volume.name, volume.modality, volume.unit) == ("Test", "CT", "HU")
    assert volume.window == (40.0, 400.0)
    assert volume.padding == -3024.0
    assert volume.inverted
    assert (volume.patient_name, volume.patient_id, volume.study_date) == ("Doe^Jane", "0815", "20260102")
    assert volume.body_part_examined == "CHEST"
    assert volume.series_instance_uid == "1.2.3.4.5"


def test_warnings_of_the_series_follow_the_volume(tmp_path, make_series):
    make_series([(0, 0, z) for z in (0, 2, 4, 8, 10)])
    (study,) = scan_paths(CTX, [tmp_path])
    volume = open_series(CTX, study.series[0])
    assert {"W_MISSING_SLICE", "W_SPLIT"} <= {w.code for w in volume.warnings}


def test_what_is_no_volume_is_refused_with_its_reason():
    series = SeriesRef(key="1", series_instance_uid="1", volume=False, warnings=(SeriesWarning("W_X", "A reason."),))
    with pytest.raises(InputError, match="A reason") as refusal:
        open_series(CTX, series)
    assert refusal.value.code == "E_NOT_A_VOLUME"


def test_a_kind_without_reader_is_refused():
    with pytest.raises(InputError) as refusal:
        open_series(CTX, SeriesRef(key="1", series_instance_uid="1", kind="unheard of"))
    assert refusal.value.code == "E_NO_READER"


def test_every_reader_is_found():
    assert {"dicom_series", "nifti"} <= {reader.id for reader in readers()}


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_compressed_series_equal_their_source(tmp_path, make_series, load, syntax, dtype):
    high = 200 if dtype is np.uint8 else 2000
    paths = make_series(5, dtype=dtype, high=high, shape=(32, 40), RescaleIntercept=-100)
    wanted = load(tmp_path).array
    compress(paths, syntax)
    (study,) = scan_paths(CTX, [tmp_path])
    assert study.series[0].transfer_syntax_uid == syntax
    volume = load(tmp_path)
    np.testing.assert_array_equal(volume.array, wanted)
    assert volume.array.dtype == wanted.dtype


def test_a_syntax_nobody_reads_is_named_at_the_scan(tmp_path, make_series):
    (path,) = make_series(1)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([b"\0" * 64])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = MPEG4HP41
    dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path])
    assert not study.series[0].volume
    assert "MPEG" in study.series[0].warnings[0].text


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_broken_streams_are_refused_by_name_and_the_worker_lives_on(tmp_path, make_series, decode_worker, load, syntax):
    paths = make_series(3, shape=(32, 40))
    compress(paths, syntax)
    dataset = pydicom.dcmread(paths[2])
    dataset.PixelData = encapsulate([bytes(range(256))])
    dataset.save_as(paths[2])
    (study,) = scan_paths(CTX, [tmp_path])
    with pytest.raises(DecodeError, match=r"002\.dcm"):
        open_series(CTX, study.series[0], decode_worker)
    make_series(2, name="good/series", SeriesInstanceUID="1.5")
    assert load(tmp_path / "good").array.shape == (2, 6, 8)


def test_a_stream_of_another_size_is_refused(tmp_path, make_series, decode_worker):
    paths = make_series(2, shape=(32, 40))
    compress(paths, JPEG2000Lossless)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.Rows = 48
        dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path])
    with pytest.raises(DecodeError):
        open_series(CTX, study.series[0], decode_worker)


def test_without_a_worker_one_is_started_and_ended(tmp_path, make_series):
    import psutil

    compress(make_series(2, shape=(16, 16)), RLELossless)
    (study,) = scan_paths(CTX, [tmp_path])
    before = {child.pid for child in psutil.Process().children()}
    assert open_series(CTX, study.series[0]).array.shape == (2, 16, 16)
    assert {child.pid for child in psutil.Process().children()} <= before


class Dying:
    """Dies of one file whatever decodes it, or only of some decoders."""

    def __init__(self, path, deadly=None):
        self.path = path
        self.deadly = deadly

    def call(self, target, request, ctx, time_limit=None):
        used = request.only or CHAINS[RLELossless]
        if any(Path(coded.path) == self.path for coded in request.coded) and (
            not self.deadly or used[0] in self.deadly
        ):
            raise WorkerDied("gone")
        return decode_slices(ctx, request)


def test_a_crash_of_the_worker_names_the_file(tmp_path, make_series):
    paths = make_series(5, shape=(8, 8))
    compress(paths, RLELossless)
    (study,) = scan_paths(CTX, [tmp_path])
    with pytest.raises(DecodeError, match=r"004\.dcm") as refusal:
        open_series(CTX, study.series[0], Dying(paths[4]))
    assert refusal.value.code == "E_DECODER_CRASHED"


def test_a_file_that_makes_one_decoder_crash_is_read_by_the_next(tmp_path, make_series, load):
    paths = make_series(5, shape=(8, 8))
    wanted = load(tmp_path).array
    compress(paths, RLELossless)
    (study,) = scan_paths(CTX, [tmp_path])
    volume = open_series(CTX, study.series[0], Dying(paths[4], deadly=("imagecodecs",)))
    np.testing.assert_array_equal(volume.array, wanted)
    assert volume.decoder == "imagecodecs, pydicom"


def test_decoders_for_every_syntax_are_installed():
    assert all(available_decoders().values())


@pytest.fixture(scope="session")
def real_series(shared_data):
    """Every volume in the real DICOM archives that are not too large, by archive name."""
    names = [
        "ct_j2k_lossless_overlapping_slices", "head_ct_tilt18_variable_spacing_GE", "sts002_ct_mr_pet_rtstruct",
        "brain_mr_4series_PGBM-003", "odd_and_codecs_pydicom", "codecs_wg04_subset", "seg_sr_paramap_dcmqi",
    ]  # fmt: skip
    found = []
    for name in names:
        for study in scan_paths(CTX, [shared_data / "dicom" / f"{name}.zip"]):
            found += [(name, series) for series in study.series]
    return found


def test_real_series_equal_pydicom_and_their_positions(real_series, decode_worker):
    slices = 0
    for name, series in real_series:
        if not series.volume:
            assert series.warnings, name
            continue
        if series.kind != "dicom" or series.frames:  # pydicom's data sets are per file; see test_multiframe.py
            continue
        volume = open_series(CTX, series, decode_worker)
        i, j = volume.geometry.size[0] - 1, volume.geometry.size[1] - 1
        for k, path in zip(planes_of(series), series.files, strict=True):
            dataset = pydicom.dcmread(path)
            position, (x, y) = (
                np.array(dataset.ImagePositionPatient, float),
                np.split(np.array(dataset.ImageOrientationPatient, float), 2),
            )
            far = position + x * float(dataset.PixelSpacing[1]) * i + y * float(dataset.PixelSpacing[0]) * j
            assert np.abs(volume.geometry.index_to_lps((0, 0, k)) - position).max() < 0.1, name
            assert np.abs(volume.geometry.index_to_lps((i, j, k)) - far).max() < 0.1, name
            if dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.51":
                continue
            wanted = apply_rescale(dataset.pixel_array, dataset)
            np.testing.assert_allclose(volume.array[k], wanted, rtol=1e-6, atol=1e-6, err_msg=path.name)
            slices += 1
    assert slices > 250


def test_twelve_bit_jpeg_is_close_to_its_source(real_series, decode_worker):
    found = {}
    for name, series in real_series:
        if name == "codecs_wg04_subset" and series.modality == "MR":
            found[series.files[0].name] = open_series(CTX, series, decode_worker).array
    difference = np.abs(found["MR1_JPLY"].astype(int) - found["MR1_RLE"])
    assert difference.mean() < 20
    assert np.corrcoef(found["MR1_JPLY"].ravel(), found["MR1_RLE"].ravel())[0, 1] > 0.99


def test_the_real_tilted_series_is_named(real_series):
    tilted = [series for name, series in real_series if name.startswith("head_ct_tilt")]
    assert sum(len(series.files) for series in tilted if not series.interpolation) == 28
    assert [series.interpolation for series in tilted] == ["", "", "linear", "nearest"]
    for series in tilted:
        codes = {"W_TILT", "W_UNEVEN_SPACING", "W_RESAMPLED" if series.interpolation else "W_SPLIT"}
        assert codes == {w.code for w in series.warnings}
        assert any("18.5 degrees" in w.text for w in series.warnings)


def test_the_volume_names_its_decoder(tmp_path, make_series, load):
    paths = make_series(3, shape=(32, 40))
    assert load(tmp_path).decoder == "native"
    compress(paths, RLELossless)
    assert load(tmp_path).decoder == "imagecodecs"
