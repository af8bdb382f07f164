"""What dcm2niix makes of the files of a series, and how far its volume lies from ours."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Points
from medviewer.core.volume import Volume
from medviewer.export.nifti_file import write_nifti

PROGRAM = "dcm2niix"


@dataclass(frozen=True, slots=True)
class Apart:
    """How two volumes differ: the largest distance of a corner, mm, and how many voxels have another value."""

    mm: float
    voxels: int


def is_there() -> bool:
    """Whether the program is installed."""
    return shutil.which(PROGRAM) is not None


def compare(volume: Volume, files: Sequence[Path]) -> Apart | None:
    """Return how the NIfTI file that we write differs from the one volume that dcm2niix makes of the files.

    None when it makes none, several, or one that it has resampled: then there is nothing to compare with.
    """
    with tempfile.TemporaryDirectory(prefix="medviewer-dcm2niix-") as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.mkdir()
        target.mkdir()
        for n, path in enumerate(dict.fromkeys(files)):
            (source / f"{n:05d}.dcm").symlink_to(path)
        command = [PROGRAM, "-b", "n", "-z", "n", "-f", "one", "-o", str(target), str(source)]
        subprocess.run(command, capture_output=True, timeout=300, check=False)
        made = list(target.glob("*.nii"))
        if len(made) != 1 or made[0].stem != "one":
            return None
        ours = Path(folder) / "ours.nii.gz"
        write_nifti(volume.array, volume.geometry, ours)
        return _apart(_loaded(ours), _loaded(made[0]))


def _loaded(path: Path) -> tuple[Points, npt.NDArray[Any]]:
    image = nibabel.Nifti1Image.from_filename(str(path))
    array = np.asarray(image.dataobj)
    return np.array(image.affine), array[..., 0] if array.ndim == 4 else array


def _apart(ours: tuple[Points, npt.NDArray[Any]], theirs: tuple[Points, npt.NDArray[Any]]) -> Apart | None:
    """Compare places and values of voxels, whichever way round the axes are stored."""
    affine, array = ours
    their_affine, their_array = theirs
    if sorted(array.shape) != sorted(their_array.shape):
        return None
    # Their index -> our index, in whole voxels.
    between = np.rint(np.linalg.inv(affine) @ their_affine)
    steps = between[:3, :3]
    if not np.array_equal(np.abs(steps).sum(axis=0), [1, 1, 1]) or not np.array_equal(abs(steps).sum(axis=1), [1] * 3):
        return Apart(float("inf"), array.size)
    last = np.array(their_array.shape) - 1
    corners = np.array([[*(last * c), 1.0] for c in np.ndindex(2, 2, 2)])
    apart = corners @ (affine @ between).T - corners @ their_affine.T
    order = [int(np.argmax(np.abs(steps[:, n]))) for n in range(3)]
    turned = array.transpose(order)[tuple(slice(None, None, int(steps[order[n], n])) for n in range(3))]
    same = np.isclose(turned, their_array, rtol=1e-5, atol=1e-4, equal_nan=True)
    return Apart(float(np.linalg.norm(apart[:, :3], axis=1).max()), int(same.size - np.count_nonzero(same)))
