"""NIfTI-1 and NIfTI-2, plain or gzipped: listed by their header, voxels read in the decode worker.

RAS exists only here: the affine becomes LPS at the door, and voxels keep the order they have in the file.

References
----------
NIfTI-1.1 standard (nifti1.h), section on methods 2 and 3 of orientation.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesWarning, Study
from medviewer.core.errors import DecodeError, GeometryError, InputError, OutOfMemory
from medviewer.core.geometry import Geometry, Ijk
from medviewer.core.volume import Volume
from medviewer.io.image_file import geometry_warning, grid_of, image_study, named_like_labels, read_image
from medviewer.io.inflate import MOST_BYTES, MOST_RATIO
from medviewer.io.raw_voxels import Voxels
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

SUFFIXES: Final = (".nii", ".nii.gz")
_HEADER_BYTES: Final = 544
#: NIFTI_INTENT_LABEL
_INTENT_LABEL: Final = 1002
_RAS_TO_LPS: Final = np.array([[-1.0], [-1.0], [1.0]])


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """The grid of an image, LPS mm."""

    geometry: Geometry


def list_nifti(path: Path) -> Study:
    """Return a NIfTI file as a study of one series.

    Raises
    ------
    InputError
        ``E_NIFTI`` when it has no NIfTI header.
    """
    header = _read_header(path)
    warnings: list[SeriesWarning] = []
    geometry: Geometry | None = None
    try:
        geometry = nifti_geometry(header, path.name)
    except InputError as error:
        warnings.append(geometry_warning(error))
    name = path.name
    for suffix in reversed(SUFFIXES):
        name = name.removesuffix(suffix)
    labels = header.get_data_dtype().kind in "iuf" and (
        int(header["intent_code"]) == _INTENT_LABEL
        or (header.get_data_dtype().kind in "iu" and named_like_labels(path))
    )
    return image_study(path, "nifti", name, geometry, labels=labels, warnings=warnings)


@reader("nifti", kinds=["nifti"], suffixes=SUFFIXES, listing=list_nifti)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read a NIfTI image in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP
    return read_image(ctx, request, "medviewer.io.readers.nifti:read_voxels", read_nifti_header, "nibabel")


def read_nifti_header(path: Path) -> NiftiHeader:
    """Return what a file says about its image, LPS mm.

    Raises
    ------
    InputError
        As `nifti_geometry`, and ``E_NIFTI`` when it has no NIfTI header.
    """
    return NiftiHeader(nifti_geometry(_read_header(path), path.name))


def nifti_geometry(header: Nifti1Header, name: str) -> Geometry:
    """Return the grid of a 3-D NIfTI image, LPS mm.

    Raises
    ------
    InputError
        ``E_4D`` for more than three dimensions.
    GeometryError
        When the affine is not finite or singular.
    """
    shape = tuple(int(n) for n in header.get_data_shape())
    if any(n > 1 for n in shape[3:]):
        raise InputError(
            f"{name} has {len(shape)} dimensions ({' x '.join(map(str, shape))}); only 3-D images are opened.",
            hint="Split it into volumes first.",
            code="E_4D",
        )
    i, j, k = (*shape[:3], 1, 1, 1)[:3]
    if min(i, j, k) < 1:
        raise GeometryError(f"{name} has an empty dimension.", code="E_DIMENSIONS")
    return _lps_geometry((i, j, k), header.get_best_affine(), name)


def _lps_geometry(size: Ijk, affine: npt.ArrayLike, name: str) -> Geometry:
    lps = _RAS_TO_LPS * np.asarray(affine, dtype=np.float64)[:3]
    return grid_of(size, lps[:, :3], lps[:, 3], name)


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


def read_voxels(ctx: JobContext, path: object) -> Voxels:
    """Read voxels in real units as (k, j, i); runs in the decode worker.

    Raises
    ------
    DecodeError
        When the file is shorter than its header says, or no image.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    assert isinstance(path, Path)
    ctx.progress(None, "Reading NIfTI")
    try:
        image = nib.load(path)
        _check_size(path, image.header)
        array = _real_values(image)
    except (ImageFileError, HeaderDataError, ValueError, OSError, EOFError, zlib.error) as error:
        raise DecodeError(f"{path.name} cannot be read as NIfTI ({type(error).__name__}).") from error
    except MemoryError as error:
        raise OutOfMemory(f"Not enough memory for {path.name}.", hint="Close other studies and try again.") from error
    return Voxels(array)


def _check_size(path: Path, header: Any) -> None:
    """Refuse a header that promises more than the file can hold, before anything is allocated."""
    needed = math.prod(int(n) for n in header.get_data_shape()) * int(header.get_data_dtype().itemsize)
    size = path.stat().st_size
    gzipped = path.name.lower().endswith(".gz")
    most = max(MOST_BYTES, MOST_RATIO * size) if gzipped else size
    if needed > most:
        raise DecodeError(
            f"{path.name} promises {needed} bytes of voxels but has {size} bytes.",
            hint="Fetch the file again from where it came.",
            code="E_TRUNCATED" if not gzipped else "E_BOMB",
        )


def _real_values(image: Any) -> npt.NDArray[Any]:
    """Return scaled voxels (k, j, i), contiguous: int16 or int32 where whole numbers fit, else float32."""
    # The image's header forgets its scaling when it is loaded; the data object keeps it.
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    stored = np.asarray(image.dataobj.get_unscaled())
    stored = stored.reshape(stored.shape[:3] if stored.ndim >= 3 else (*stored.shape, 1, 1)[:3])
    if stored.dtype.kind not in "iuf":
        raise DecodeError(f"A NIfTI image of type {stored.dtype} is not a volume.", code="E_PIXEL_FORMAT")
    stored = stored.transpose(2, 1, 0)
    if slope == 1.0 and intercept.is_integer() and stored.dtype.kind in "iu":
        low, high = int(stored.min()) + int(intercept), int(stored.max()) + int(intercept)
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                # Widened first, so that the shift cannot wrap.
                whole = stored if intercept == 0 else stored.astype(np.int64) + int(intercept)
                return np.ascontiguousarray(whole, dtype=dtype)
    real = stored if slope == 1.0 and intercept == 0.0 else stored * np.float64(slope) + intercept
    return np.ascontiguousarray(real, dtype=np.float32)
