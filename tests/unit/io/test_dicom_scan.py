"""What is in a folder, a file, a zip: every series listed, none stacked that is no stack."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pydicom
import pytest

from medviewer.core.errors import InputError
from medviewer.io.dicom_scan import scan, scan_paths
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()


def codes(series):
    return {warning.code for warning in series.warnings}


def text_of(series, code):
    return next(warning.text for warning in series.warnings if warning.code == code)


def only_study(folder):
    (study,) = scan_paths(CTX, [folder])
    return study


def check_geometry(series):
    """Files are in slice order and even."""
    positions = np.array(
        [pydicom.dcmread(f, stop_before_pixels=True).ImagePositionPatient for f in series.files], float
    )
    steps = np.diff(positions, axis=0)
    assert len(series.files) == series.size[2]
    assert np.abs(steps - steps[0]).max() < 0.1


def test_a_plain_series(tmp_path, make_series):
    make_series(5)
    study = only_study(tmp_path)
    (series,) = study.series
    assert (study.patient_name, study.patient_id, study.study_date) == ("Doe^Jane", "0815", "20260102")
    assert series.key == series.series_instance_uid == "1.2.3.4.5"
    assert (series.size, series.spacing) == ((8, 6, 5), (0.8, 0.7, 2.0))
    assert (series.modality, series.description, series.kind, series.volume) == ("CT", "Test", "dicom", True)
    assert series.warnings == ()
    assert series.frame_of_reference_uid == "1.2.3.4.6"
    check_geometry(series)


def test_order_comes_from_positions_alone(tmp_path, make_series):
    make_series([(0, 0, z) for z in (4, 0, 6, 2)], each=lambda n: {"InstanceNumber": 9 - n})
    (series,) = only_study(tmp_path).series
    assert [path.name for path in series.files] == ["001.dcm", "003.dcm", "000.dcm", "002.dcm"]


def test_two_orientations_are_split(tmp_path, make_series):
    coronal = [1.0, 0, 0, 0, 0, -1.0]
    make_series(
        [(0, 0, 2 * n) if n < 4 else (0, 3 * n, 0) for n in range(7)],
        each=lambda n: {"ImageOrientationPatient": coronal} if n >= 4 else {},
    )
    series = only_study(tmp_path).series
    assert [(s.key, s.size[2], s.volume) for s in series] == [("1.2.3.4.5#1", 4, True), ("1.2.3.4.5#2", 3, True)]
    assert all("W_SPLIT" in codes(s) for s in series)
    for one in series:
        check_geometry(one)


@pytest.mark.parametrize(
    "other",
    [{"PixelSpacing": [1.0, 1.0]}, {"FrameOfReferenceUID": "1.9"}, {"PhotometricInterpretation": "MONOCHROME1"}],
)
def test_different_grids_or_formats_are_split(tmp_path, make_series, other):
    make_series(6, each=lambda n: other if n >= 3 else {})
    series = only_study(tmp_path).series
    assert [s.size[2] for s in series] == [3, 3]
    assert all("W_SPLIT" in codes(s) and s.volume for s in series)


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("EchoTime", [10, 80]),
        ("TemporalPositionIdentifier", [1, 2, 3]),
        ("AcquisitionNumber", [1, 2]),
        ("DiffusionBValue", [0.0, 1000.0]),
    ],
)
def test_images_at_one_place_are_points_of_an_axis(tmp_path, make_series, tag, values):
    places = [(0, 0, 3.0 * n) for n in range(4) for _ in values]
    make_series(places, each=lambda n: {tag: values[n % len(values)]})
    (series,) = only_study(tmp_path).series
    assert series.size[2] == 4
    assert len(series.time_labels) == len(set(series.time_labels)) == len(values)
    assert all(label.isprintable() for label in series.time_labels)
    for n in range(len(values)):
        check_geometry(series.at_time(n))
    assert not series.warnings


def test_other_kinds_of_picture_at_one_place_are_told_apart(tmp_path, make_series):
    values = [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]
    places = [(0, 0, 3.0 * n) for n in range(4) for _ in values]
    make_series(places, each=lambda n: {"ImageType": values[n % len(values)]})
    series = only_study(tmp_path).series
    assert [s.size[2] for s in series] == [4] * len(values)
    assert len({s.key for s in series}) == len(values)
    for one in series:
        assert {"W_SPLIT"} <= codes(one)
        check_geometry(one)
    assert len({s.description for s in series}) == len(values)
    assert all(s.description.isprintable() for s in series)


def test_two_parameters_together_tell_apart(tmp_path, make_series):
    combos = [(echo, time) for echo in (1, 2) for time in (1, 2)]
    make_series(
        [(0, 0, 3.0 * n) for n in range(4) for _ in combos],
        each=lambda n: {"EchoNumbers": combos[n % 4][0], "TemporalPositionIdentifier": combos[n % 4][1]},
    )
    (series,) = only_study(tmp_path).series
    assert series.size[2] == 4
    assert len(set(series.time_labels)) == 4
    assert series.time_name == "time point and echo"


def test_what_nothing_tells_apart_is_ambiguous_not_stacked(tmp_path, make_series):
    make_series([(0, 0, 3.0 * (n // 2)) for n in range(8)])
    series = only_study(tmp_path).series
    assert [s.size[2] for s in series] == [4, 4]
    assert all("W_AMBIGUOUS" in codes(s) for s in series)


def test_copies_are_left_out(tmp_path, make_series):
    paths = make_series(4)
    (tmp_path / "series" / "copy.dcm").write_bytes(paths[2].read_bytes())
    again = pydicom.dcmread(paths[1])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    again.save_as(tmp_path / "series" / "same_picture.dcm")
    (series,) = only_study(tmp_path).series
    assert series.size[2] == 4
    assert series.volume
    assert [w.code for w in series.warnings].count("W_DUPLICATE") == 2


def test_one_uid_for_two_pictures_is_named(tmp_path, make_series):
    make_series(4, each=lambda n: {"SOPInstanceUID": f"1.2.{max(n, 1)}"})
    (series,) = only_study(tmp_path).series
    assert "W_UID_COLLISION" in codes(series)


def exact_parts(series):
    """Return the series without what would be computed; that is listed after them."""
    exact = [one for one in series if not one.interpolation]
    assert [one.interpolation for one in series if one.volume][-2:] == ["linear", "nearest"]
    return exact


def test_a_missing_slice_makes_exact_parts(tmp_path, make_series):
    make_series([(0, 0, 2.5 * n) for n in range(10) if n != 6])
    series = exact_parts(only_study(tmp_path).series)
    assert [s.size[2] for s in series] == [6, 3]
    for one in series:
        assert "W_MISSING_SLICE" in codes(one)
        assert "1 slice missing: after slice 6" in text_of(one, "W_MISSING_SLICE")
        assert "5.00 mm" in text_of(one, "W_MISSING_SLICE")
        check_geometry(one)


def test_changing_spacing_makes_exact_parts(tmp_path, make_series):
    places = [0, 1.25, 2.5, 3.75, 8.75, 13.75, 18.75]
    make_series([(0, 0, z) for z in places])
    series = exact_parts(only_study(tmp_path).series)
    assert sum(s.size[2] for s in series) == len(places)
    assert {s.spacing[2] for s in series} == {1.25, 5.0}
    for one in series:
        assert "W_UNEVEN_SPACING" in codes(one)
        check_geometry(one)


def test_spacing_without_a_rule_is_no_volume(tmp_path, make_series):
    places = np.cumsum([0, 1, 3, 1.5, 4, 2, 5.5, 1.2, 3.3, 0.7, 2.9, 6.1, 1.1, 4.4, 2.2, 3.7])
    make_series([(0, 0, z) for z in places])
    (series,) = exact_parts(only_study(tmp_path).series)
    assert not series.volume
    assert "0.70 to 6.10 mm" in text_of(series, "W_UNEVEN_SPACING")
    assert len(series.files) == 16


def test_rounded_positions_are_one_stack(tmp_path, make_series):
    make_series([(0, 0, round(0.625 * n, 1)) for n in range(40)])
    (series,) = only_study(tmp_path).series
    assert series.volume
    assert series.warnings == ()
    assert series.spacing[2] == pytest.approx(0.625, abs=0.001)


def test_tilt_is_kept_and_named(tmp_path, make_series):
    tilt = np.radians(15)
    orientation = [1, 0, 0, 0, np.cos(tilt), np.sin(tilt)]
    make_series([(0, 0, 5.0 * n) for n in range(6)], ImageOrientationPatient=orientation)
    (series,) = only_study(tmp_path).series
    assert "15.0 degrees" in text_of(series, "W_TILT")
    assert series.volume
    assert series.spacing[2] == pytest.approx(5.0)


def test_a_localizer_is_apart(tmp_path, make_series):
    make_series(
        [(0, 0, 2.0 * n) for n in range(5)] + [(50, 0, 0)],
        each=lambda n: (
            {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
            if n == 5
            else {}
        ),
    )
    stack, localizer = only_study(tmp_path).series
    assert stack.size[2] == 5
    assert stack.volume
    assert localizer.volume
    assert localizer.size[2] == 1
    assert "W_LOCALIZER" in codes(localizer)


@pytest.mark.parametrize(
    ("element", "code"),
    [
        ({"ImagePositionPatient": None}, "W_NO_POSITION"),
        ({"ImageOrientationPatient": None}, "W_NO_POSITION"),
        ({"PixelSpacing": None}, "W_NO_SPACING"),
    ],
)
def test_slices_without_a_place_are_pictures_and_say_why(tmp_path, make_series, element, code):
    make_series(3, **element)
    (series,) = only_study(tmp_path).series
    assert (series.volume, series.kind, series.stacking) == (True, "dicom_pictures", "number")
    assert codes(series) == {code}
    assert len(series.files) == 3


@pytest.mark.parametrize(
    ("element", "code"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "W_MOSAIC"),
        ({"BitsStored": 20, "HighBit": 19}, "W_UNREADABLE"),
        ({"Rows": 0}, "W_UNREADABLE"),
        ({"PhotometricInterpretation": "NONSENSE"}, "W_UNREADABLE"),
    ],
)
def test_what_is_not_opened_says_why(tmp_path, make_series, element, code):
    make_series(3, **element)
    (series,) = only_study(tmp_path).series
    assert not series.volume
    assert series.warnings[0].code == code
    assert len(series.files) == 3


def test_a_truncated_slice_is_left_out_and_leaves_a_gap(tmp_path, make_series):
    paths = make_series(6)
    paths[3].write_bytes(paths[3].read_bytes()[:-10])
    series = exact_parts(only_study(tmp_path).series)
    assert [s.size[2] for s in series] == [3, 2]
    for one in series:
        assert {"W_UNREADABLE", "W_MISSING_SLICE"} <= codes(one)
        assert "003.dcm ends 10 bytes too early" in text_of(one, "W_UNREADABLE")


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "seg"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "sr"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "rtstruct"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "document"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation"),
    ],
)
def test_other_objects_are_listed_by_kind(tmp_path, make_series, sop_class, kind):
    make_series(1, SOPClassUID=sop_class)
    (series,) = only_study(tmp_path).series
    assert (series.kind, series.volume) == (kind, False)
    assert codes(series) == {"W_NOT_IMAGE"}


def test_junk_is_counted_and_broken_files_are_named(tmp_path, make_series):
    make_series(3)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "inner.zip").write_bytes(b"PK\x03\x04rest")
    result = scan(CTX, [tmp_path])
    assert len(result.studies) == 1
    assert result.skipped == {"other files": 3, "archives inside folders": 1}
    assert "3 other files" in result.skipped_text


def test_names_follow_their_character_set(tmp_path, make_series):
    make_series(1, SpecificCharacterSet="ISO_IR 192", PatientName="山田^太郎", SeriesDescription="Übersicht")
    study = only_study(tmp_path)
    assert study.patient_name == "山田^太郎"
    assert study.series[0].description == "Übersicht"


def test_a_wrong_character_set_is_named_and_never_fails(tmp_path, make_series):
    (path,) = make_series(1, SpecificCharacterSet="ISO_IR 192", PatientName="Muller^Jan")
    path.write_bytes(path.read_bytes().replace(b"Muller^Jan", b"M\xfcller^Jan"))
    study = only_study(tmp_path)
    assert study.patient_name == "M\ufffdller^Jan"
    assert [w.code for w in study.warnings] == ["W_CHARSET"]


def test_escape_sequences(tmp_path, make_series):
    make_series(1, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert only_study(tmp_path).patient_name == "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_links_that_leave_the_folder_are_not_followed(tmp_path, make_series):
    make_series(2, name="inside/a")
    make_series(2, name="outside", SeriesInstanceUID="1.9.9")
    inside = tmp_path / "inside"
    (inside / "escape").symlink_to(tmp_path / "outside")
    (inside / "loop").symlink_to(inside)
    (inside / "broken").symlink_to(inside / "nowhere")
    result = scan(CTX, [inside])
    assert [s.series_instance_uid for s in result.studies[0].series] == ["1.2.3.4.5"]
    assert result.studies[0].series[0].size[2] == 2
    assert result.skipped["links that leave the folder"] == 2


def test_a_link_to_another_drive_is_not_followed(tmp_path, make_series, monkeypatch):
    make_series(1, name="inside")
    make_series(1, name="outside")
    inside = tmp_path / "inside"
    (inside / "link").symlink_to(tmp_path / "outside")

    def on_two_drives(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", on_two_drives)
    assert scan(NullContext(), [inside]).skipped == {"links that leave the folder": 1}


def test_a_file_that_the_system_does_not_give_spoils_no_other(tmp_path, make_series, monkeypatch):
    make_series(1)
    (tmp_path / "gone.nii").write_bytes(b"")

    def gone(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medviewer.io.dicom_scan.lister_of", lambda path: gone if path.suffix == ".nii" else None)
    (study,) = scan(NullContext(), [tmp_path]).studies
    assert study.warnings[0].text == "Left out: gone.nii cannot be read: Permission denied."


def test_a_zip_is_like_its_folder(tmp_path, make_series):
    paths = make_series(4)
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, f"deep/er/{path.name}")
    (study,) = scan_paths(CTX, [archive])
    assert study.series[0].size == (8, 6, 4)
    assert all(path.exists() for path in study.series[0].files)


def test_one_file(tmp_path, make_series):
    paths = make_series(4)
    (study,) = scan_paths(CTX, [paths[1]])
    assert study.series[0].files == (paths[1],)
    assert "W_SINGLE_SLICE" in codes(study.series[0])


def test_what_is_not_there_or_no_image_is_refused(tmp_path):
    with pytest.raises(InputError) as missing:
        scan_paths(CTX, [tmp_path / "nothing"])
    assert missing.value.code == "E_NO_FILE"
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError) as junk:
        scan_paths(CTX, [tmp_path / "a.txt"])
    assert junk.value.code == "E_NOT_DICOM"
    assert scan_paths(CTX, [tmp_path]) == []


def test_studies_grow_while_the_scan_runs(tmp_path, make_series, monkeypatch):
    import medviewer.io.dicom_scan as module

    monkeypatch.setattr(module, "_GROW_SECONDS", 0.0)
    monkeypatch.setattr(module, "_REPORT_EVERY", 1)
    make_series(4)
    seen = []
    (study,) = scan_paths(CTX, [tmp_path], seen.append)
    growing = [s.series[0] for s in seen[:-1]]
    assert [s.size[2] for s in growing] == [1, 2, 3]
    assert all(not s.volume and codes(s) == {"W_SCANNING"} for s in growing)
    assert seen[-1] == study


def test_cancel_stops_the_scan(tmp_path, make_series):
    make_series(3)

    class Cancelled(NullContext):
        def progress(self, fraction, text=""):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        scan_paths(Cancelled(), [tmp_path])


def test_files_without_uids_get_one_that_stays(tmp_path, make_series):
    make_series(3, SeriesInstanceUID="", StudyInstanceUID="")
    first, second = only_study(tmp_path), only_study(tmp_path)
    assert first == second
    assert first.series[0].series_instance_uid.startswith("2.25.")
    assert "W_NO_UID" in codes(first.series[0])
