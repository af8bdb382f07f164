"""NIfTI-1 files: the door where LPS becomes RAS, and how a file is read back."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import ExportError
from medviewer.core.geometry import Geometry, Points
from medviewer.core.volume import Volume, VoxelArray
from medviewer.export.exporter import Check
from medviewer.imaging.sitk_image import from_sitk, is_orthonormal
from medviewer.io.atomic import atomic_write

#: NIfTI stores its matrix in single precision: 0.00003 mm at half a metre.
TOLERANCE_MM = 1e-3
_MM = 2
#: NIFTI_XFORM_SCANNER_ANAT; NIFTI_XFORM_ALIGNED_ANAT, for what lies in no patient but with its image.
_SCANNER, _ALIGNED = 1, 2
_RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def ras_affine(geometry: Geometry) -> Points:
    """Return the 4x4 matrix from (i, j, k) to RAS mm, as NIfTI has it."""
    affine: Points = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.index_to_lps_matrix
    return affine


def image_voxels(volume: Volume) -> VoxelArray:
    """Return what is written of an image: colours as RGB24 (NIFTI_TYPE_RGB24), else its values (k, j, i)."""
    if volume.colors is None:
        return volume.array
    return np.ascontiguousarray(volume.colors).view(_RGB24)[..., 0]


def write_nifti(
    array: VoxelArray, geometry: Geometry, path: Path, *, in_patient: bool = True, in_mm: bool = True
) -> None:
    """Write one ``.nii.gz``; the same input gives the same bytes.

    Parameters
    ----------
    array : shape (k, j, i)
        Booleans become uint8, half floats single ones.
    geometry : Geometry
        LPS mm. A sheared grid (tilted gantry) has a matrix (sform) but no quaternion (qform).
    path : Path
        An older file is replaced when the new one is complete.
    in_patient, in_mm : bool
        As of the `Volume`. What lies in no patient is said to be aligned with another file (its image), and pixels
        that are no millimetres have no unit.
    """
    import nibabel

    image = nibabel.Nifti1Image(_storable(array).T, ras_affine(geometry))
    code = _SCANNER if in_patient else _ALIGNED
    upright = is_orthonormal(geometry)
    image.set_sform(ras_affine(geometry), code=code)
    image.set_qform(ras_affine(geometry) if upright else None, code=code if upright else 0)
    image.header.set_xyzt_units(_MM if in_mm else 0)
    with (
        atomic_write(path, ExportError) as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed,
    ):
        image.to_stream(packed)


def _storable(array: VoxelArray) -> npt.NDArray[Any]:
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array


def check_nifti(array: VoxelArray, geometry: Geometry, path: Path, name: str) -> Check:
    """Read a file back with nibabel and with SimpleITK and compare voxels, type, and every corner of the grid.

    SimpleITK cannot hold a sheared grid; there nibabel alone decides.
    """
    import nibabel

    expected = _storable(array)
    image = nibabel.Nifti1Image.from_filename(str(path))
    found = np.asanyarray(image.dataobj)
    different = _different(found.T, expected)
    error_mm = _error_mm(np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine, geometry)
    if is_orthonormal(geometry):
        import SimpleITK as sitk

        read = sitk.ReadImage(str(path))
        if expected.dtype.names:
            # ITK has colours as the components of a voxel, which make planes of grey here.
            expected = expected[..., None].view(np.uint8)
            voxels, grid = sitk.GetArrayFromImage(read), from_sitk(sitk.VectorIndexSelectionCast(read, 0))[1]
        else:
            voxels, grid = from_sitk(read)
        if expected.dtype.kind == "f" and not np.isfinite(expected).all():
            # ITK's reader gives 0 for what is no number; the file has it right, as nibabel has found.
            expected = np.nan_to_num(expected, nan=0.0, posinf=0.0, neginf=0.0)
        different = max(different, _different(voxels, expected))
        error_mm = max(error_mm, _error_mm(grid.index_to_lps_matrix, geometry))
    detail = f"{different} of {expected.size} voxels differ, corners within {error_mm:.6f} mm"
    return Check(name, different == 0 and error_mm <= TOLERANCE_MM, detail)


def _different(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> int:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return expected.size
    if np.array_equal(found, expected):
        return 0
    same = (found == expected) | ((found != found) & (expected != expected))
    return int(expected.size - np.count_nonzero(same))


def _error_mm(index_to_lps: Points, geometry: Geometry) -> float:
    """Return how far any corner lies from where it belongs."""
    i, j, k = (n - 1 for n in geometry.size)
    corners = np.array([(x, y, z, 1.0) for z in (0, k) for y in (0, j) for x in (0, i)])
    return float(np.abs((corners @ index_to_lps.T)[:, :3] - geometry.corners_lps).max())
