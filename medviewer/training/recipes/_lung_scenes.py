"""Pieces of chest at 1 mm to learn nodules from: cubes around real nodules, and lungs to put nodules into."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medviewer.ai.coarse_ct import CoarseCt
from medviewer.ai.lungs import find_lungs
from medviewer.ai.model_grid import ModelGrid
from medviewer.ai.nodules import MARGIN_MM
from medviewer.core.errors import InputError
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import JobContext, NullContext, SubContext

Part = Literal["train", "tune", "test"]
Mask = npt.NDArray[np.bool_]

CUBES = "lung_nodule_cubes_lidc.npz"
#: Scans with lungs, beside the training data. Right lungs are learnt from, left lungs are held out.
SCANS = ("chest_ct_LIDC-IDRI-0001", "abdomen_ct_CRLM-CT-1004")
#: This patient's whole scan is measured on, so its cube is not learnt from.
SCAN_PATIENT = "LIDC-IDRI-0001"
TESTED, TUNED = 26, 8


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A block of chest at 1 mm.

    Attributes
    ----------
    name : str
    hu : int16 array, shape (k, j, i)
    nodule : bool array of that shape
    lung : bool array of that shape, optional
        None in a cube: its lung is what is thin.
    free : int array, shape (n, 3)
        Voxels (k, j, i) in lung and away from the nodule, where another may be put.
    bright : int array, shape (n, 3)
        Voxels in the lung that are as dense as a nodule and are none: vessels, walls, scars.
    ratings : mapping of name to float
    """

    name: str
    hu: npt.NDArray[np.int16]
    nodule: Mask
    lung: Mask | None
    free: npt.NDArray[np.int32]
    bright: npt.NDArray[np.int32]
    ratings: dict[str, float] = field(default_factory=dict)

    @property
    def diameter_mm(self) -> float:
        """Of the ball as large as the nodule."""
        return float(np.cbrt(6 * self.nodule.sum() / np.pi))

    @property
    def center(self) -> npt.NDArray[np.float64]:
        """Middle of the nodule, voxels (k, j, i)."""
        center: npt.NDArray[np.float64] = np.argwhere(self.nodule).mean(axis=0)
        return center


def parts(patients: list[str]) -> dict[str, Part]:
    """Return which part each patient belongs to: the same in every run, whatever the order."""
    order = sorted(set(patients), key=lambda name: (name != SCAN_PATIENT, _shuffle_key(name)))
    return {name: "test" if n < TESTED else "tune" if n < TESTED + TUNED else "train" for n, name in enumerate(order)}


def _shuffle_key(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def read_cubes(data: Path) -> list[tuple[Part, Scene]]:
    """Return the nodules of the training data as scenes, with the part that their patient belongs to.

    Raises
    ------
    InputError
        ``E_TRAINING_DATA``: the file is not there.
    """
    path = data / CUBES
    if not path.is_file():
        raise InputError(
            f"The nodules {CUBES} are not in {data}.", hint="Give the folder that holds them.", code="E_TRAINING_DATA"
        )
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("hu", "mask", "patient", "ratings", "rating_names")}
    belongs = parts([str(name) for name in arrays["patient"]])
    scenes = []
    for hu, mask, patient, values in zip(*(arrays[n] for n in ("hu", "mask", "patient", "ratings")), strict=True):
        ratings = {str(n): float(v) for n, v in zip(arrays["rating_names"], values, strict=True)}
        scenes.append((belongs[str(patient)], _cube(str(patient), hu, mask > 0, ratings)))
    return scenes


def _cube(name: str, hu: npt.NDArray[np.int16], nodule: Mask, ratings: dict[str, float]) -> Scene:
    smooth = ndimage.uniform_filter(hu.astype(np.float32), 5)
    near = ndimage.distance_transform_edt(~nodule)
    free = np.argwhere((smooth < -650) & (near > 12))
    # Dense, with lung not far away, and not so near the border that most of what is around is unknown.
    inner = np.zeros_like(nodule)
    inner[10:-10, 10:-10, 10:-10] = True
    lung_near = ndimage.minimum_filter(smooth, 9) < -650
    bright = np.argwhere((smooth > -600) & lung_near & (near > 7) & inner)
    return Scene(name, hu, nodule, None, free.astype(np.int32), bright.astype(np.int32), ratings)


def read_lungs(ctx: JobContext, data: Path, work: Path, side: Literal["left", "right"]) -> list[Scene]:
    """Return one lung of each real scan at 1 mm; made once and kept in `work`. None where the scans are not at hand."""
    scenes = []
    for n, name in enumerate(SCANS):
        path = work / f"{name}_{side}.npz"
        if not path.is_file():
            source = data.parent / "data" / "dicom" / f"{name}.zip"
            if not source.is_file():
                continue
            _prepare_scan(SubContext(ctx, n / len(SCANS), (n + 1) / len(SCANS)), source, work, name)
        with np.load(path) as file:
            hu, lung, nodule = file["hu"], file["lung"], file["nodule"]
        scenes.append(_lung_scene(f"{name}_{side}", hu, lung, nodule))
    return scenes


def _lung_scene(name: str, hu: npt.NDArray[np.int16], lung: Mask, nodule: Mask) -> Scene:
    near = ndimage.distance_transform_edt(~nodule) if nodule.any() else np.full(hu.shape, 1e6)
    smooth = ndimage.uniform_filter(hu.astype(np.float32), 3)
    free = np.argwhere(lung & (near > 20))
    bright = np.argwhere(lung & (smooth > -600) & (near > 10))
    return Scene(name, hu, nodule, lung, free[::7].astype(np.int32), bright[::3].astype(np.int32))


def read_volume(path: Path) -> Volume:
    """Return the largest image of a file, folder or archive, as the program opens it."""
    series = [series for study in scan_paths(NullContext(), [path]) for series in study.series if series.size]
    return open_series(NullContext(), max(series, key=lambda one: math.prod(one.size or ())))


def _prepare_scan(ctx: JobContext, source: Path, work: Path, name: str) -> None:
    volume = read_volume(source)
    ct = CoarseCt.of(volume, 1.5)
    ctx.check_cancelled()
    lungs = find_lungs(NullContext(), ct)
    marked = source.with_name(f"{name}_nodule_consensus.nii.gz")
    nodule = read_volume(marked).array > 0 if marked.is_file() else np.zeros(volume.geometry.shape, bool)
    work.mkdir(parents=True, exist_ok=True)
    for side, mask in (("left", lungs.left), ("right", lungs.right)):
        hu, lung, own = _at_one_mm(volume, ct.grid.turn_back(ct.fine(mask)), nodule)
        np.savez(work / f"{name}_{side}.npz", hu=hu, lung=lung, nodule=own)


def _at_one_mm(volume: Volume, lung: Mask, nodule: Mask) -> tuple[npt.NDArray[np.int16], Mask, Mask]:
    """Return density, lung and nodule of the box around one lung, axes (head, back, left), as a model sees them."""
    box = Region.of_mask(lung)
    assert box is not None
    k, j, i = (math.ceil(MARGIN_MM / mm) for mm in volume.geometry.spacing[::-1])
    region = box.grown((k, j, i)).clip(volume.geometry.region)
    grid = ModelGrid.of(volume.geometry.cropped(region), (1.0, 1.0, 1.0))
    hu = grid.image(np.clip(volume.array[region.slices], -1200, 3000))
    inside, own = (grid.image(mask[region.slices].astype(np.float32)) > 0.5 for mask in (lung, nodule))
    return np.rint(hu).astype(np.int16), inside, own
