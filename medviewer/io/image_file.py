"""What the readers of single image files share: listing one as a study, and the grid of an affine in LPS mm."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study
from medviewer.core.errors import GeometryError, InputError
from medviewer.core.geometry import Geometry, Ijk, vec3
from medviewer.core.volume import Volume
from medviewer.io.decode_worker import decode_worker
from medviewer.io.raw_voxels import Voxels
from medviewer.io.reader import OpenRequest
from medviewer.io.study_tree import made_up_uid
from medviewer.jobs.job import JobContext

#: Modality of what is listed as segments, not as an image (DICOM PS3.3 C.7.3.1.1.1).
LABELS_MODALITY: Final = "SEG"
_LABEL_WORDS: Final = frozenset({
    "mask", "masks", "seg", "segs", "segmentation", "segmentations", "label", "labels", "labelmap", "gt", "groundtruth",
    "gold", "consensus", "organs", "roi", "rois", "lesion", "lesions",
})  # fmt: skip
_LABEL_FOLDER: Final = re.compile(r"labels(Tr|Ts)?|masks?|segmentations?", re.IGNORECASE)


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
    warnings: Sequence[SeriesWarning] = (),
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
    """
    uid = made_up_uid(kind, str(path.resolve()))
    series = SeriesRef(
        key=uid,
        series_instance_uid=uid,
        study_instance_uid=made_up_uid(f"{kind} study", str(path.resolve())),
        modality=LABELS_MODALITY if labels else "",
        description=name,
        size=geometry.size if geometry else None,
        spacing=geometry.spacing if geometry else None,
        files=(path,),
        kind=kind,
        volume=volume and geometry is not None,
        warnings=tuple(warnings),
    )
    return Study(study_instance_uid=series.study_instance_uid, description=path.name, series=(series,))


def geometry_warning(error: InputError) -> SeriesWarning:
    """Return why a file lies on no grid."""
    return SeriesWarning("W_4D" if error.code == "E_4D" else "W_NO_POSITION", error.text)


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
        raise GeometryError(f"{name} has an affine that is not finite.")
    spacing = np.linalg.norm(steps, axis=0)
    if spacing.min() <= 0 or abs(np.linalg.det(steps / spacing)) < 1e-6:
        raise GeometryError(f"{name} has a singular affine.", hint="Its orientation was lost when it was written.")
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
        Returns something with a `geometry` from the path.
    decoder : str
        What reads the voxels, for the provenance.
    """
    path = request.series.files[0]
    geometry: Geometry = header(path).geometry
    with decode_worker(request.decode) as worker:
        voxels = worker.call(target, path, ctx)
    assert isinstance(voxels, Voxels)
    volume = Volume(
        array=voxels.array,
        geometry=geometry,
        name=request.series.title,
        modality=request.series.modality,
        series=request.series,
        warnings=request.series.warnings,
        decoder=decoder,
    )
    request.on_first(volume)
    request.on_filled(geometry.region)
    return volume
