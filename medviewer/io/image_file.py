"""What the readers of single image files share: listing one as a study, and the grid of an affine in LPS mm."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study
from medviewer.core.errors import GeometryError, InputError, hint_for
from medviewer.core.geometry import Geometry, Ijk, vec3
from medviewer.core.shown_text import shown
from medviewer.core.volume import TimeAxis, Volume, VoxelArray
from medviewer.io.colors import FULL_WINDOW
from medviewer.io.decode_worker import call_for_file, decode_worker
from medviewer.io.raw_voxels import Voxels
from medviewer.io.reader import OpenRequest
from medviewer.io.study_tree import made_up_uid
from medviewer.jobs.job import JobContext

NO_ORIENTATION: Final = SeriesWarning(
    "W_NO_ORIENTATION", "The file does not say how it lies in the patient: left and right are not known."
)  # fmt: skip
#: Modality of what is listed as segments, not as an image (DICOM PS3.3 C.7.3.1.1.1).
LABELS_MODALITY: Final = "SEG"
_LABEL_WORDS: Final = frozenset({
    "mask", "masks", "seg", "segs", "segmentation", "segmentations", "label", "labels", "labelmap", "gt", "groundtruth",
    "gold", "manual", "consensus", "organs", "roi", "rois", "lesion", "lesions",
    "aseg", "aparc", "wmparc",
})  # fmt: skip
_LABEL_FOLDER: Final = re.compile(r"labels(Tr|Ts)?|masks?|segmentations?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Times:
    """The points of a fourth axis: what tells them apart, and a label for each; none for one volume."""

    name: str = ""
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, count: int, step_s: float = 0.0, start_s: float = 0.0) -> Times:
        """Return `count` points, `step_s` seconds after each other where that is known; none for a single one."""
        if count < 2:
            return cls()
        if step_s > 0:
            return cls("time", tuple(f"t = {start_s + n * step_s:.5g} s" for n in range(count)))
        return cls("volume", tuple(f"volume {n + 1}" for n in range(count)))

    def shape(self, geometry: Geometry) -> tuple[int, ...]:
        """Return the shape of all voxels: (k, j, i), or (point, k, j, i)."""
        return (len(self.labels), *geometry.shape) if self.labels else geometry.shape


ONE_TIME: Final = Times()


def named_like_labels(path: Path) -> bool:
    """Whether the name of a file, or of its folder, says that it holds segments."""
    words = re.split(r"[^a-z]+", path.name.lower())
    return not _LABEL_WORDS.isdisjoint(words) or _LABEL_FOLDER.fullmatch(path.parent.name) is not None


def image_study(
    path: Path,
    kind: str,
    name: str,
    geometry: Geometry | None,
    *,
    labels: bool = False,
    volume: bool = True,
    refusal: str = "",
    warnings: Sequence[SeriesWarning] = (),
    times: Times = ONE_TIME,
) -> Study:
    """Return an image file as a study of one series.

    Parameters
    ----------
    path : Path
    kind : str
        `SeriesRef.kind`.
    geometry : Geometry or None
        None when it lies on no grid; `warnings` says why.
    labels : bool
        Whether it holds segments.
    volume : bool
        False for what cannot be shown as an image.
    refusal : str
        Code of the refusal when it is opened all the same.
    """
    uid = made_up_uid(kind, str(path.resolve()))
    series = SeriesRef(
        key=uid,
        series_instance_uid=uid,
        study_instance_uid=made_up_uid(f"{kind} study", str(path.resolve())),
        modality=LABELS_MODALITY if labels else "",
        description=shown(name),
        size=geometry.size if geometry else None,
        spacing=geometry.spacing if geometry else None,
        files=(path,),
        kind=kind,
        volume=volume and geometry is not None,
        refusal=refusal,
        warnings=tuple(warnings),
        time_labels=times.labels,
        time_name=times.name,
    )
    return Study(study_instance_uid=series.study_instance_uid, description=shown(path.name), series=(series,))


#: What the header of a broken or unusual image is listed with, instead of being left out.
LISTED_ERRORS: Final = frozenset({"E_AFFINE", "E_4D", "E_PIXEL_FORMAT"})


def gridless_study(path: Path, kind: str, name: str, error: InputError) -> Study:
    """Return an image file that lies on no grid of voxels, with the reason.

    Raises
    ------
    InputError
        The error itself when it says that the file is broken.
    """
    if error.code not in LISTED_ERRORS:
        raise error
    codes = {"E_4D": "W_4D", "E_PIXEL_FORMAT": "W_PIXEL_FORMAT"}
    warning = SeriesWarning(codes.get(error.code, "W_NO_POSITION"), error.text)
    return image_study(path, kind, name, None, refusal=error.code, warnings=[warning])


#: Smallest cosine between two axes that is told; less is the rounding of the file.
_SHEAR: Final = 1e-3


def grid_warnings(geometry: Geometry) -> list[SeriesWarning]:
    """Return what is to be said about a grid that is unusual."""
    axes = geometry.direction_matrix
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine < _SHEAR:
        return []
    degrees = float(np.degrees(np.arcsin(min(1.0, cosine))))
    text = f"The axes are not at right angles ({degrees:.1f}° off); the voxels are kept where they lie."
    return [SeriesWarning("W_SHEAR", text)]


def grid_of(size: Ijk, columns: npt.ArrayLike, origin: npt.ArrayLike, name: str) -> Geometry:
    """Return the grid whose index axes step by `columns` (3x3, LPS mm) from `origin`.

    Raises
    ------
    GeometryError
        When a number is not finite, or the steps do not span the space.
    """
    steps = np.asarray(columns, dtype=np.float64)
    start = np.asarray(origin, dtype=np.float64)
    if not (np.isfinite(steps).all() and np.isfinite(start).all()):
        raise GeometryError(f"{name} has an affine that is not finite.", hint=hint_for("E_AFFINE"), code="E_AFFINE")
    spacing = np.linalg.norm(steps, axis=0)
    if spacing.min() <= 0 or abs(np.linalg.det(steps / spacing)) < 1e-6:
        raise GeometryError(f"{name} has a singular affine.", hint=hint_for("E_AFFINE"), code="E_AFFINE")
    return Geometry(size, vec3(spacing), vec3(start), tuple((steps / spacing).ravel()))


def read_image(
    ctx: JobContext, request: OpenRequest, target: str, header: Callable[[Path], Any], decoder: str
) -> Volume:
    """Read an image file in the decode worker.

    Parameters
    ----------
    target : str
        ``module:function`` that takes the path and returns `Voxels`.
    header : callable
        Returns something with a `geometry` and `times` from the path.
    decoder : str
        What reads the voxels, for the provenance.
    """
    path = request.series.files[0]
    found = header(path)
    geometry: Geometry = found.geometry
    times: Times = found.times
    with decode_worker(request.decode) as worker:
        voxels = call_for_file(worker, target, path, ctx, path)
    assert isinstance(voxels, Voxels)
    if voxels.array.shape != times.shape(geometry):
        raise InputError(f"{path.name} has changed while it was read.", hint="Open it again.", code="E_CHANGED")
    array, padding, notes = finite_voxels(voxels.array)
    warnings = (*request.series.warnings, *notes)
    volume = Volume(
        array=array[0] if times.labels else array,
        time=_time_axis(array, times),
        geometry=geometry,
        name=request.series.title,
        modality=request.series.modality,
        series=request.series,
        padding=padding,
        window=FULL_WINDOW if voxels.colors is not None else None,
        colors=voxels.colors,
        in_patient=all(warning.code != NO_ORIENTATION.code for warning in warnings),
        warnings=warnings,
        decoder=decoder,
    )
    request.on_first(volume)
    request.on_filled(geometry.region)
    return volume


def _time_axis(array: VoxelArray, times: Times) -> TimeAxis | None:
    if not times.labels:
        return None
    array.flags.writeable = False
    return TimeAxis(times.name, times.labels, tuple(array))


def finite_voxels(array: VoxelArray) -> tuple[VoxelArray, float | None, list[SeriesWarning]]:
    """Return voxels of which each is a number, what those that were none have become, and the note about it.

    Tasks, statistics and windows never meet a NaN: it becomes padding, one value below all others.
    """
    if array.dtype.kind != "f" or all(np.isfinite(plane).all() for plane in array):
        return array, None, []
    finite = np.isfinite(array)
    count = int(array.size - np.count_nonzero(finite))
    low = float(array[finite].min()) if count < array.size else 0.0
    # Far below zero the next number is further away than one.
    padding = float(min(np.floor(low) - 1.0, np.nextafter(np.float32(low), np.float32(-np.inf))))
    if not np.isfinite(np.float32(padding)):
        padding = low
    filled = np.where(finite, array, np.float32(padding)).astype(array.dtype, copy=False)
    text = f"{count} of {array.size} voxels are not numbers (NaN or infinite); they count as outside the image."
    return filled, padding, [SeriesWarning("W_NOT_FINITE", text)]
