"""NIfTI-1 and NIfTI-2, plain, gzipped or as a pair: header by nibabel's parser, voxels in the decode worker.

RAS exists only here: the affine becomes LPS at the door, and voxels keep the order they have in the file.

References
----------
NIfTI-1.1 standard (nifti1.h), section on methods 1 to 3 of orientation.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesWarning, Study
from medviewer.core.errors import GeometryError, InputError
from medviewer.core.geometry import Geometry, Ijk
from medviewer.core.volume import Volume
from medviewer.io.colors import luminance
from medviewer.io.image_file import (
    NO_ORIENTATION,
    ONE_TIME,
    Times,
    grid_of,
    grid_warnings,
    gridless_study,
    image_study,
    named_like_labels,
    read_image,
)
from medviewer.io.raw_voxels import RawBlock, Voxels, beside, check_block, read_block, scaled_values
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

SUFFIXES: Final = (".nii", ".nii.gz")
_HEADER_BYTES: Final = 544
#: Fields of a voxel of NIFTI_TYPE_RGB24.
_RGB24: Final = ("R", "G", "B")
#: NIFTI_INTENT_LABEL
_INTENT_LABEL: Final = 1002
#: sform and qform that differ by less are the same, rounded.
_MISMATCH_MM: Final = 1.0
_MISMATCH: Final = "W_AFFINE_MISMATCH"
_RAS_TO_LPS: Final = np.array([[-1.0], [-1.0], [1.0]])
_Affine = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """A parsed header.

    Attributes
    ----------
    geometry : Geometry
        LPS mm.
    block : RawBlock
        Sizes with the fastest axis first.
    slope, intercept : float
        From stored to real values.
    labels : bool
        Whether the header says that it holds segments.
    warnings : tuple of SeriesWarning
        About where it lies.
    in_color : bool
        Whether voxels are RGB24; the samples are then the fastest axis of `block`.
    """

    geometry: Geometry
    block: RawBlock
    slope: float
    intercept: float
    labels: bool
    warnings: tuple[SeriesWarning, ...]
    times: Times = ONE_TIME
    in_color: bool = False


def list_nifti(path: Path) -> Study:
    """Return a NIfTI file as a study of one series, or of two where it says twice, and differently, where it lies.

    Raises
    ------
    InputError
        ``E_NIFTI`` when it has no NIfTI header.
    """
    name = path.name
    for suffix in (*reversed(SUFFIXES), ".hdr"):
        name = name.removesuffix(suffix)
    try:
        header = read_nifti_header(path)
    except InputError as error:
        return gridless_study(path, "nifti", name, error)
    labels = header.labels or (not header.in_color and header.block.dtype[1] in "iu" and named_like_labels(path))
    study = image_study(
        path, "nifti", name, header.geometry, labels=labels, warnings=header.warnings, times=header.times
    )
    # Segments are laid where the sform says; an image can be looked at both ways.
    if labels or not any(warning.code == _MISMATCH for warning in header.warnings):
        return study
    (first,) = study.series
    other = read_nifti_header(path, "qform")
    second = replace(
        first,
        key=f"{first.key}#qform",
        description=f"{first.description} [by its qform]",
        spacing=other.geometry.spacing,
        warnings=other.warnings,
        affine="qform",
    )
    return replace(study, series=(first, second))


@reader("nifti", kinds=["nifti"], suffixes=SUFFIXES, listing=list_nifti)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read a NIfTI image in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP

    def header(path: Path) -> NiftiHeader:
        return read_nifti_header(path, request.series.affine)

    return read_image(ctx, request, "medviewer.io.readers.nifti:read_voxels", header, "native")


def read_voxels(ctx: JobContext, path: object) -> Voxels:
    """Read voxels in real units as (k, j, i), or (point, k, j, i); runs in the decode worker."""
    assert isinstance(path, Path)
    ctx.progress(None, "Reading NIfTI")
    header = read_nifti_header(path)
    shape = header.times.shape(header.geometry)
    if header.in_color:
        colors = read_block(header.block).reshape(*shape, 3)
        return Voxels(luminance(colors), colors)
    stored = read_block(header.block).reshape(shape)
    return Voxels(scaled_values(stored, header.slope, header.intercept))


def read_nifti_header(path: Path, affine: Literal["", "qform"] = "") -> NiftiHeader:
    """Parse a header and check it against the file.

    Parameters
    ----------
    path : Path
    affine : "qform" or empty
        What is followed where sform and qform differ.

    Raises
    ------
    InputError
        ``E_NIFTI`` when it has no NIfTI header, ``E_4D``, ``E_AFFINE``, ``E_PIXEL_FORMAT``, ``E_TRUNCATED``,
        ``E_BOMB`` and the like.
    """
    from nibabel.spatialimages import HeaderDataError

    header = _read_header(path)
    try:
        size, sizes = _sizes(header, path.name)
        block = _block(path, header, sizes)
        geometry, warnings = _grid(header, size, path.name, affine)
        times = _times(header, sizes)
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError, OverflowError) as error:
        raise InputError(f"{path.name} has a broken NIfTI header ({error}).", code="E_NIFTI") from error
    labels = int(header["intent_code"]) == _INTENT_LABEL and block.dtype[1] in "iuf"
    in_color = len(block.sizes) > len(sizes)
    return NiftiHeader(geometry, block, slope or 1.0, intercept or 0.0, labels, tuple(warnings), times, in_color)


def _sizes(header: Nifti1Header, name: str) -> tuple[Ijk, tuple[int, ...]]:
    """Return the size of the grid (i, j, k), and all sizes."""
    sizes = tuple(int(n) for n in header.get_data_shape())
    if any(n > 1 for n in sizes[4:]):
        raise InputError(
            f"{name} has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}); only 3-D and 4-D images are opened.",
            code="E_4D",
        )
    i, j, k = (*sizes[:3], 1, 1, 1)[:3]
    if not sizes or min(sizes) < 1:
        raise GeometryError(f"{name} has an empty dimension.", code="E_DIMENSIONS")
    return (i, j, k), sizes


#: Code of a unit of time, bits 3 to 5 of xyzt_units, -> seconds.
_SECONDS: Final = {8: 1.0, 16: 1e-3, 24: 1e-6}


def _times(header: Nifti1Header, sizes: tuple[int, ...]) -> Times:
    """Return the points of the fourth axis, in seconds where the file says so."""
    count = sizes[3] if len(sizes) > 3 else 1
    unit = _SECONDS.get(int(header["xyzt_units"]) & 0x38, 0.0)
    step, start = float(header["pixdim"][4]) * unit, float(header["toffset"]) * unit
    return Times.of(count, step if np.isfinite(step) else 0.0, start if np.isfinite(start) else 0.0)


def _block(path: Path, header: Any, sizes: tuple[int, ...]) -> RawBlock:
    """Return where the voxels lie, checked against the file."""
    dtype = header.get_data_dtype()
    if dtype.names == _RGB24 and not any(n > 1 for n in sizes[3:]):
        dtype, sizes = np.dtype("u1"), (3, *sizes)
    if dtype.kind not in "iuf":
        text = f"{path.name} has voxels of type {header.get_value_label('datatype')}; only plain numbers are opened."
        raise InputError(text, hint="Convert it to one number a voxel.", code="E_PIXEL_FORMAT")
    single = header["magic"].item() == header.single_magic
    source = path if single else beside(path, f"{path.stem}.img")
    offset = int(header["vox_offset"])
    if offset < 0:
        raise ValueError(f"vox_offset {offset}")
    packed = _is_gzip(source)
    block = RawBlock(
        source, 0 if packed else offset, sizes, dtype.str, "deflate" if packed else "raw", offset if packed else 0
    )  # fmt: skip
    check_block(block)
    return block


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _grid(
    header: Nifti1Header, size: Ijk, name: str, affine: Literal["", "qform"]
) -> tuple[Geometry, list[SeriesWarning]]:
    """Return the grid in LPS mm by the sform, else the qform, else voxel sizes alone; and what is to be said of it.

    A grid that lies nowhere has its axes along those of LPS, as ITK has it.
    """
    sform, _ = header.get_sform(coded=True)
    if sform is None:
        qform, _ = header.get_qform(coded=True)
        if qform is None:
            spacing = [abs(float(mm)) or 1.0 for mm in header["pixdim"][1:4]]
            return grid_of(size, np.diag(spacing), np.zeros(3), name), [NO_ORIENTATION]
        geometry = _lps_geometry(size, qform, name)
        return geometry, grid_warnings(geometry)
    geometry = _lps_geometry(size, sform, name)
    other, warnings = _other_place(header, sform, geometry, affine)
    if affine == "qform" and other is not None:
        geometry = other
    return geometry, [*warnings, *grid_warnings(geometry)]


def _lps_geometry(size: Ijk, affine: _Affine, name: str) -> Geometry:
    lps = _RAS_TO_LPS * np.asarray(affine, dtype=np.float64)[:3]
    return grid_of(size, lps[:, :3], lps[:, 3], name)


def _other_place(
    header: Nifti1Header, sform: _Affine, geometry: Geometry, affine: Literal["", "qform"]
) -> tuple[Geometry | None, list[SeriesWarning]]:
    """Return the grid of a qform that puts the image elsewhere than the sform, and say which of them is followed."""
    from nibabel.spatialimages import HeaderDataError

    try:
        qform, _ = header.get_qform(coded=True)
        other = None if qform is None else _lps_geometry(geometry.size, qform, "qform")
    except (HeaderDataError, GeometryError):
        # Nobody can follow it, so it does not disagree.
        return None, []
    if qform is None or other is None:
        return None, []
    apart = float(np.linalg.norm(geometry.corners_lps - other.corners_lps, axis=1).max())
    if apart < _MISMATCH_MM:
        return None, []
    text = (
        f"The file says twice where it lies, up to {apart:.1f} mm apart: sform {_place(sform)}, qform {_place(qform)}. "
        f"The {affine or 'sform'} is followed; the other is listed beside it."
    )
    return other, [SeriesWarning(_MISMATCH, text)]


def _place(affine: _Affine) -> str:
    """Return an affine in words: its axes in RAS letters, voxel sizes and origin."""
    from nibabel.orientations import aff2axcodes

    spacing = " x ".join(f"{mm:.2f}" for mm in np.linalg.norm(affine[:3, :3], axis=0))
    origin = ", ".join(f"{mm:.1f}" for mm in affine[:3, 3])
    return f"{''.join(letter or '?' for letter in aff2axcodes(affine))} {spacing} mm from ({origin})"


def _read_header(path: Path) -> Nifti1Header:
    """Return the header, read by NumPy code from the first bytes only."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    try:
        head = _first_bytes(path)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error
    kinds: tuple[tuple[type[Nifti1Header], int], ...] = ((Nifti1Header, 348), (Nifti2Header, 540))
    for kind, length in kinds:
        if len(head) >= length and kind.may_contain_header(head):
            try:
                return kind(head[:length])
            except (HeaderDataError, ValueError) as error:
                raise InputError(f"{path.name} has a broken NIfTI header.", code="E_NIFTI") from error
    raise InputError(f"{path.name} is not a NIfTI file.", code="E_NIFTI")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    if head[:2] != b"\x1f\x8b":
        return head[:_HEADER_BYTES]
    try:
        return zlib.decompressobj(31).decompress(head, _HEADER_BYTES)
    except zlib.error as error:
        raise InputError(f"{path.name} cannot be inflated.", code="E_NIFTI") from error
