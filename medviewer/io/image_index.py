"""Which slice of a series an image is, by its SOPInstanceUID."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry, Points
from medviewer.io.dicom_frames import frame_headers, slice_headers
from medviewer.io.dicom_geometry import slice_frame, slice_position
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_pictures import entered_grid
from medviewer.io.dicom_resample import planes_of
from medviewer.io.dicom_tags import Tag

#: SOPInstanceUID and frame (from 1) of an image.
ImageKey = tuple[str, int]


def image_slices(series: SeriesRef) -> dict[ImageKey, int]:
    """Return the slice k of each image of a series; of a time axis, in each of its points.

    Raises
    ------
    InputError
        For a file that cannot be read.
    """
    if series.entered_spacing is not None:
        # Listed by their numbers, opened by their places.
        headers, _ = entered_grid(slice_headers(series), series.entered_spacing)
        return {(header.text(Tag.SOP_INSTANCE_UID), (header.frame or 0) + 1): k for k, header in enumerate(headers)}
    found: dict[ImageKey, int] = {}
    frames = series.frames or (0,) * len(series.files)
    depth = len(series.files) // max(1, len(series.time_labels))
    planes = planes_of(series)
    for n, (path, frame) in enumerate(zip(series.files, frames, strict=True)):
        k = planes[n] if series.interpolation else n % max(1, depth)
        found.setdefault((read_header(path).text(Tag.SOP_INSTANCE_UID), frame + 1), k)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class ImagePlace:
    """Where an image lies in a volume: its slice, and its header where it says a place in the patient."""

    k: int
    header: Header

    def to_lps(self, pixels: npt.ArrayLike, geometry: Geometry, *, in_patient: bool) -> Points:
        """Return points (n, 2), continuous (i, j) of the image, in LPS mm: as its header says, else on the grid."""
        points = np.asarray(pixels, dtype=np.float64)
        if in_patient:
            try:
                frame = slice_frame(self.header)
                steps = np.array([frame.row * frame.spacing[0], frame.column * frame.spacing[1]])
                lps: Points = np.array(slice_position(self.header)) + points @ steps
            except InputError:
                pass
            else:
                return lps
        return geometry.index_to_lps(np.column_stack([points, np.full(len(points), float(self.k))]))


def find_image(series: SeriesRef, key: ImageKey) -> ImagePlace | None:
    """Return where an image lies in a series; None when it is not there."""
    k = image_slices(series).get(key)
    if k is None:
        return None
    path = next(path for path in series.files if read_header(path).text(Tag.SOP_INSTANCE_UID) == key[0])
    headers = frame_headers(read_header(path))
    return ImagePlace(k, headers[min(key[1], len(headers)) - 1])
