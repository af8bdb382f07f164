"""Series of which only a part has come (W03)."""

from __future__ import annotations

from pydicom import dcmread

from medviewer.app.scripting import load
from medviewer.io.dicom_scan import scan
from medviewer.io.network.inbox import OK, Inbox
from medviewer.io.network.query import InstanceRow
from tests.pacs_peers import CT, CTX


def rows_of(files):
    found = []
    for path in files:
        header = dcmread(path, stop_before_pixels=True)
        found.append(
            InstanceRow(
                study_instance_uid=str(header.StudyInstanceUID),
                series_instance_uid=str(header.SeriesInstanceUID),
                sop_instance_uid=str(header.SOPInstanceUID),
                sop_class_uid=CT,
            )
        )
    return found


def test_W03_a_part_opens_with_a_warning_and_is_never_taken_for_the_whole(phantom_files, tmp_path):
    rows = rows_of(phantom_files)
    study = rows[0].study_instance_uid
    inbox = Inbox(tmp_path, study, rows)
    for row, path in list(zip(rows, phantom_files, strict=True))[:10]:
        assert inbox.keep(row.sop_instance_uid, path.read_bytes()) == OK
    assert inbox.complete_series() == []
    found = scan(CTX, [tmp_path])
    (part,) = found.studies[0].series
    text = f"INCOMPLETE 10/{len(rows)}: the rest of this series was not fetched."
    assert [(w.code, w.text) for w in part.warnings if w.code == "W_INCOMPLETE"] == [("W_INCOMPLETE", text)]
    volume = load(tmp_path)
    assert volume.geometry.size[2] == 10
    assert "W_INCOMPLETE" in {warning.code for warning in volume.warnings}

    again = Inbox(tmp_path, study, rows)
    assert again.present == 10
    for row in again.missing:
        path = phantom_files[rows.index(row)]
        assert again.keep(row.sop_instance_uid, path.read_bytes()) == OK
    (whole,) = scan(CTX, [tmp_path]).studies[0].series
    assert "W_INCOMPLETE" not in {warning.code for warning in whole.warnings}
    assert whole.series_instance_uid == part.series_instance_uid
    assert whole.key != part.key
    assert load(tmp_path).geometry.size[2] == len(rows)
