"""Image pairs (.hdr and .img): Analyze 7.5, which says nothing of the patient, and NIfTI in two files.

References
----------
Analyze 7.5 file format (Mayo Clinic), struct dsr; SPM's use of its unused fields for scaling, as nibabel reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import Study
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.io.image_file import (
    NO_ORIENTATION,
    ONE_TIME,
    Times,
    grid_of,
    gridless_study,
    image_study,
    named_like_labels,
    read_image,
)
from medviewer.io.raw_voxels import RawBlock, Voxels, beside, check_block, read_block, read_head, scaled_values
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.io.readers.nifti import list_nifti
from medviewer.jobs.job import JobContext

SUFFIXES: Final = (".hdr",)
_LENGTH: Final = 348
_NIFTI_LENGTH: Final = 540


@dataclass(frozen=True, slots=True)
class AnalyzeHeader:
    """A parsed header: where the voxels lie, how they are scaled, and a grid that lies nowhere in the patient."""

    geometry: Geometry
    block: RawBlock
    slope: float
    intercept: float
    times: Times = ONE_TIME


def list_pair(path: Path) -> Study:
    """Return a pair of files as a study of one series."""
    if is_nifti(path):
        return list_nifti(path)
    try:
        header = read_header(path)
    except InputError as error:
        return gridless_study(path, "analyze", path.stem, error)
    labels = header.block.dtype[1] in "iu" and named_like_labels(path)
    return image_study(
        path, "analyze", path.stem, header.geometry, labels=labels, warnings=[NO_ORIENTATION], times=header.times
    )  # fmt: skip


def is_nifti(path: Path) -> bool:
    """Whether the header of a pair is that of a NIfTI image."""
    head = read_head(path)
    return head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0"


@reader("analyze", kinds=["analyze"], suffixes=SUFFIXES, listing=list_pair)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read an Analyze image in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP
    return read_image(ctx, request, "medviewer.io.readers.analyze:read_voxels", read_header, "native")


def read_voxels(ctx: JobContext, path: object) -> Voxels:
    """Read voxels in real units as (k, j, i), or (point, k, j, i); runs in the decode worker."""
    assert isinstance(path, Path)
    ctx.progress(None, "Reading Analyze")
    header = read_header(path)
    stored = read_block(header.block).reshape(header.times.shape(header.geometry))
    return Voxels(scaled_values(stored, header.slope, header.intercept))


def read_header(path: Path) -> AnalyzeHeader:
    """Parse a header and check it against the file of its voxels.

    Raises
    ------
    InputError
        ``E_NOT_DICOM`` for a file of another kind with the same suffix, ``E_ANALYZE``, ``E_4D``, ``E_PIXEL_FORMAT``,
        ``E_TRUNCATED``, ``E_NO_FILE`` and the like.
    """
    from nibabel.spatialimages import HeaderDataError
    from nibabel.spm2analyze import Spm2AnalyzeHeader

    head = read_head(path)[:_LENGTH]
    if not Spm2AnalyzeHeader.may_contain_header(head):
        raise InputError(f"{path.name} is not the header of an image.", code="E_NOT_DICOM")
    try:
        header = Spm2AnalyzeHeader(head)
        sizes = tuple(int(n) for n in header.get_data_shape())
        if any(n > 1 for n in sizes[4:]):
            shape = " x ".join(map(str, sizes))
            raise InputError(
                f"{path.name} has {len(sizes)} dimensions ({shape}); only 3-D and 4-D images are opened.", code="E_4D"
            )
        dtype = header.get_data_dtype()
        if dtype.kind not in "iuf":
            raise InputError(f"{path.name} has voxels that are not plain numbers.", code="E_PIXEL_FORMAT")
        offset = int(abs(header["vox_offset"]))
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError, OverflowError) as error:
        raise InputError(f"{path.name} has a broken Analyze header ({error}).", code="E_ANALYZE") from error
    block = RawBlock(beside(path, f"{path.stem}.img"), offset, sizes, dtype.str)
    check_block(block)
    i, j, k = (*sizes[:3], 1, 1, 1)[:3]
    spacing = [abs(float(mm)) or 1.0 for mm in header["pixdim"][1:4]]
    geometry = grid_of((i, j, k), np.diag(spacing), np.zeros(3), path.name)
    times = Times.of(sizes[3] if len(sizes) > 3 else 1)
    return AnalyzeHeader(geometry, block, float(slope or 1.0), float(intercept or 0.0), times)
