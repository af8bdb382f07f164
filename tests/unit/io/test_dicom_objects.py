"""Reports, key images, presentation states, registrations and documents as plain values."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.errors import MedViewerError
from medviewer.imaging.shutter import Shutter
from medviewer.io.dicom_kinds import object_kind
from medviewer.io.dicom_sr import extent
from medviewer.io.load_object import read_object
from medviewer.jobs.job import NullContext
from tests import object_makers as makers

CTX = NullContext()
IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_a_measurement_report_is_a_tree_of_names_values_and_units(tmp_path):
    path = makers.measurement_report(tmp_path / "a.dcm", "1.2.3.4.5", "1.9", "1.2.3.4.6", (1, 2, 3))
    report = read_object(CTX, path)
    assert report.title == "Imaging Measurement Report"
    assert report.facts == ("2026-01-02 12:30", "Complete", "Unverified")
    lines = [(line.depth, line.name, line.value) for line in report.items]
    assert (2, "Diameter", "8.5 mm") in lines
    # Markup of a file is text like any other.
    assert (2, "Finding", "<b>Nodule</b>") in lines
    (source,) = [line.image for line in report.items if line.name == "Source"]
    assert (source.sop_instance_uid, source.series_instance_uid) == ("1.9", "1.2.3.4.5")


def test_places_of_a_report_are_boxes_on_images_and_in_space(tmp_path):
    path = makers.measurement_report(tmp_path / "a.dcm", "1.2.3.4.5", "1.9", "1.2.3.4.6", (1, 2, 3))
    circle, point = read_object(CTX, path).marks
    assert circle.label == "<b>Nodule</b> Nodule 1"
    assert (circle.lower, circle.upper, circle.image.sop_instance_uid) == ((6.0, 8.0), (14.0, 16.0), "1.9")
    assert (point.lower, point.image, point.frame_of_reference_uid) == ((1.0, 2.0, 3.0), None, "1.2.3.4.6")


@given(st.floats(-np.pi, np.pi), st.floats(0.5, 50), st.floats(0.5, 50))
def test_the_box_around_an_ellipse_touches_it(angle, a, b):
    axis = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-axis[1], axis[0]])
    ends = np.add([-a * axis, a * axis, -b * across, b * across], (3, 4))
    lower, upper = extent("ELLIPSE", ends.ravel(), 2)
    turns = np.linspace(0, 2 * np.pi, 5000)[:, np.newaxis]
    points = (3, 4) + a * np.cos(turns) * axis + b * np.sin(turns) * across
    np.testing.assert_allclose([lower, upper], [points.min(axis=0), points.max(axis=0)], atol=1e-3 * max(a, b))


def test_key_images_are_listed_with_their_text(tmp_path):
    report = read_object(CTX, makers.key_images(tmp_path / "a.dcm", "1.2.3.4.5", ["1.7", "1.8"]))
    assert report.title == "Of Interest"
    assert report.items[0].value == "Look here"
    assert [line.image.sop_instance_uid for line in report.items[1:]] == ["1.7", "1.8"]
    assert {line.image.series_instance_uid for line in report.items[1:]} == {"1.2.3.4.5"}


def test_a_presentation_state_says_window_polarity_shutter_and_words(tmp_path):
    state = read_object(CTX, makers.presentation(tmp_path / "a.dcm", "1.2.3.4.5", "1.9", ImageRotation=90))
    assert (state.window, state.inverted) == ((55.0, 155.0), True)
    assert state.shutter == Shutter((2, 19, 4, 11))
    assert [i.sop_instance_uid for i in state.images] == ["1.9"]
    (mark,) = state.report.marks
    assert (mark.label, mark.lower, mark.upper) == ("<i>here</i>", (5.0, 6.0), (5.0, 6.0))
    assert "rotation" in state.report.warnings[0]


def test_what_a_shutter_leaves():
    shown = Shutter((1, 3, 1, 2)).mask(5, 6)
    wanted = np.zeros((5, 6), bool)
    wanted[1:3, 1:4] = True
    np.testing.assert_array_equal(shown, wanted)
    assert Shutter(circle=(2, 2, 1)).mask(5, 5).sum() == 5
    assert Shutter((0, 4, 0, 4), polygon=((-0.5, -0.5), (1.5, -0.5), (1.5, 1.5), (-0.5, 1.5))).mask(5, 5).sum() == 4


def test_a_registration_is_a_transform_between_frames(tmp_path):
    matrix = [0, -1, 0, 10, 1, 0, 0, 20, 0, 0, 1, 30, 0, 0, 0, 1]
    found = read_object(CTX, makers.registration(tmp_path / "a.dcm", "1.1", "1.2", matrix))
    assert [frame.frame_of_reference_uid for frame in found.frames] == ["1.1", "1.2"]
    np.testing.assert_allclose(found.frames[1].matrix.apply((1, 2, 3)), (8, 21, 33))
    np.testing.assert_allclose(found.frames[0].matrix.apply((1, 2, 3)), (1, 2, 3))


@pytest.mark.parametrize(
    "matrices",
    [
        [],
        [[0] * 16],
        [[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]],
        # A turn and a shift: in the other order they give another place.
        [[0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]],
    ],
)
def test_a_registration_that_leaves_doubt_is_refused(tmp_path, matrices):
    with pytest.raises(MedViewerError) as refusal:
        read_object(CTX, makers.registration(tmp_path / "a.dcm", "1.1", "1.2", *matrices))
    assert refusal.value.code == "E_REGISTRATION"
    assert "a.dcm" in refusal.value.text


def test_a_document_comes_out_byte_for_byte_and_only_a_pdf_may_be_viewed(tmp_path):
    found = read_object(CTX, makers.document(tmp_path / "a.dcm", b"%PDF-1.4 odd"))
    assert (found.data, found.what, found.suffix, found.viewable) == (b"%PDF-1.4 odd", "PDF document", ".pdf", True)
    lied = read_object(CTX, makers.document(tmp_path / "b.dcm", b"MZ\x90 a program"))
    assert (lied.suffix, lied.viewable) == (".pdf", False)
    with pytest.raises(MedViewerError) as refusal:
        read_object(CTX, makers.document(tmp_path / "c.dcm", b"", EncapsulatedDocumentLength=0))
    assert refusal.value.code == "E_DOCUMENT"


def test_s14_hostile_and_broken_values_are_shown_or_left_out(tmp_path):
    path = makers.write(
        tmp_path / "a.dcm", makers.SR, "SR",
        ContentSequence=[
            makers.content("TEXT", "Text", TextValue="a\x00b\u202egnp.exe"),
            makers.content("NUM", "Size"),
            makers.content("SCOORD", "Region", GraphicType="CIRCLE", GraphicData=[1.0, 2.0, 3.0]),
            makers.content("NEW", "Unknown"),
        ],
        SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    report = read_object(CTX, path)
    assert [line.value for line in report.items][1:] == ["no value", "circle, 1 point", ""]
    assert "\u202e" not in report.items[0].value
    assert "\x00" not in report.items[0].value
    assert report.marks == ()


def test_d19_a_report_without_end_is_cut_and_says_so(tmp_path):
    line = makers.content("TEXT", "Deep", TextValue="x")
    for _ in range(60):
        line = makers.content("CONTAINER", "Deep", [line])
    report = read_object(CTX, makers.write(tmp_path / "a.dcm", makers.SR, "SR", ContentSequence=[line]))
    assert len(report.items) == 40
    assert "not shown whole" in report.warnings[0]


def test_other_objects_are_refused(tmp_path):
    with pytest.raises(MedViewerError) as refusal:
        read_object(CTX, makers.write(tmp_path / "a.dcm", pydicom.uid.UID(f"{makers.STORAGE}.9.1.1"), "ECG"))
    assert refusal.value.code == "E_NOT_SUPPORTED"


def test_g26_kinds():
    ends = {"88.11": "sr", "88.33": "sr", "88.59": "key_images", "11.1": "presentation", "66.1": "registration",
            "66.3": "deformation", "104.1": "document", "104.3": "document", "481.5": "rt",
            "9.1.1": "waveform"}  # fmt: skip
    assert {end: object_kind(f"{makers.STORAGE}.{end}") for end in ends} == ends


@pytest.mark.parametrize(
    ("archive", "member", "lines"),
    [
        ("highdicom_small", "data/test_files/sr_document.dcm", [("Area of defined region", "1.7 cm2")]),
        ("highdicom_small", "data/test_files/sr_document_with_multiple_groups.dcm", [("Volume", "200.0 mm3")]),
        ("odd_and_codecs_pydicom", "pydicom/test-SR.dcm", [("Diameter", "3 cm"), ("Text Code", "was detected.")]),
        ("odd_and_codecs_pydicom", "pydicom/reportsi.dcm", [("Report Text", "Enter text")]),
        ("odd_and_codecs_pydicom", "pydicom/reportsi_with_empty_number_tags.dcm", [("Report Text", "Enter text")]),
        ("seg_sr_paramap_dcmqi", "data/sr-example/sr.dcm", [("Procedure reported", "PET whole body")]),
    ],
)
def test_reports_of_other_programs_are_readable(shared_data, tmp_path, archive, member, lines):
    with zipfile.ZipFile(shared_data / "dicom" / f"{archive}.zip") as opened:
        path = Path(opened.extract(member, tmp_path))
    report = read_object(CTX, path)
    assert set(lines) <= {(line.name, line.value) for line in report.items}
