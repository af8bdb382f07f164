"""Pictures with a spacing that was entered: which slice each is, and which volume they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_pictures import entered_grid
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.dicom_tags import Tag
from medviewer.io.image_index import image_slices
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import SHAPE, write_slice


def test_images_are_found_in_the_slice_that_they_are(tmp_path):
    for n in range(4):
        # Numbered from the last place to the first.
        picture = np.full(SHAPE, n, np.int16)
        place = (0.0, 0.0, 3.0 * (3 - n))
        write_slice(
            tmp_path / f"{n}.dcm", picture, place, PixelSpacing=None, InstanceNumber=n + 1, RescaleIntercept=None
        )
    (study,) = scan_paths(NullContext(), [tmp_path])
    (series,) = study.series
    spaced = series.spaced((0.5, 0.5, 1.0))
    volume = open_series(NullContext(), spaced)
    slices = image_slices(spaced)
    for n in range(4):
        k = slices[read_header(tmp_path / f"{n}.dcm").text(Tag.SOP_INSTANCE_UID), 1]
        assert (volume.array[k] == n).all()


def test_the_warning_says_what_the_files_say(tmp_path):
    for n in range(3):
        write_slice(tmp_path / f"{n}.dcm", np.zeros(SHAPE, np.int16), (0.0, 0.0, 3.0 * n))
    headers = [read_header(tmp_path / f"{n}.dcm") for n in range(3)]
    _, grid = entered_grid(headers, (0.5, 0.5, 1.0))
    assert "the files say 0.8 x 0.7 mm" in grid.warnings[0].text
    silent = [replace(h, values={t: v for t, v in h.values.items() if t != Tag.PIXEL_SPACING}) for h in headers]
    _, grid = entered_grid(silent, (0.5, 0.5, 1.0))
    assert "the files do not say it" in grid.warnings[0].text


def test_another_spacing_is_another_volume(tmp_path):
    write_slice(tmp_path / "a.dcm", np.zeros(SHAPE, np.int16), PixelSpacing=None)
    (study,) = scan_paths(NullContext(), [tmp_path])
    (series,) = study.series
    keys = {series.spaced((mm, mm, 1.0)).key for mm in (0.5, 0.7)}
    assert len(keys | {series.key}) == 3
