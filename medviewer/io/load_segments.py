"""What the decode worker does for files of segments: say what they belong to, and read them onto an image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medviewer.core.errors import InputError, OutOfMemory
from medviewer.io.derived import MISFIT, DerivedRef, Target, check_belongs, describe, read_dataset
from medviewer.io.dicom_resample import planes_of, repeat_between
from medviewer.io.dicom_seg import read_seg
from medviewer.io.label_file import LabelFile, is_label_format, is_photo, label_geometry, read_label_map
from medviewer.io.label_fit import fit_layers
from medviewer.io.rtstruct import read_structures
from medviewer.jobs.job import JobContext

REFERENCE = "medviewer.io.load_segments:reference"
READ = "medviewer.io.load_segments:read"


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """A file of segments and the image that it is for."""

    path: Path
    target: Target


def reference(ctx: JobContext, path: object) -> DerivedRef:
    """Return what a file of segments belongs to.

    Raises
    ------
    InputError
        When it holds none.
    """
    assert isinstance(path, Path)
    if is_label_format(path):
        return DerivedRef("labels", path.name, geometry=label_geometry(path))
    return describe(read_dataset(path), path)


def read(ctx: JobContext, request: object) -> LabelFile:
    """Read the segments of a `SegmentRequest` onto the grid of its image.

    Raises
    ------
    InputError
        When it holds no segments, or they do not belong to the image.
    """
    assert isinstance(request, SegmentRequest)
    try:
        return _read(ctx, request.path, request.target)
    except MemoryError as error:
        raise OutOfMemory(f"Not enough memory for {request.path.name}.", hint="Close other studies first.") from error


def _read(ctx: JobContext, path: Path, target: Target) -> LabelFile:
    resample = MISFIT in target.accepted
    if is_label_format(path):
        if is_photo(path):
            _check_size(path, target)
        found = read_label_map(ctx, path, target.threshold)
        if not found.segments:
            raise InputError(
                f"{path.name} is empty: every voxel is background.", hint="There is nothing to load.", code="E_EMPTY"
            )
        layers = fit_layers(found.layers, found.geometry, target.geometry, path.name, resample=resample)
        warnings = found.warnings
        if target.threshold is not None:
            warnings = (
                *warnings,
                f"{path.name} holds fractions; voxels of {target.threshold:.0%} and more were taken.",
            )
        return LabelFile(target.geometry, layers, found.segments, warnings)
    dataset = read_dataset(path)
    ref = describe(dataset, path)
    warnings = check_belongs(ref, target, path.name)
    if ref.kind == "seg":
        return read_seg(ctx, dataset, target, path.name, warnings=warnings)
    series = target.series
    if series is None or not series.interpolation:
        return read_structures(ctx, dataset, target.geometry, path.name, warnings=warnings)
    found = read_structures(ctx, dataset, target.geometry, path.name, between=False, warnings=warnings)
    return _between_slices(found, planes_of(series), path.name)


def _between_slices(found: LabelFile, planes: Sequence[int], name: str) -> LabelFile:
    """Fill the computed planes of a resampled image when contours were drawn on its true slices alone; say so."""
    drawn = {int(k) for labels in found.layers for k in np.flatnonzero(labels.any(axis=(1, 2)))}
    if not drawn <= {*planes}:
        return found
    for labels in found.layers:
        repeat_between(labels, planes)
    text = f"{name} was drawn on the original slices; the planes between them repeat the nearest one."
    return replace(found, warnings=(*found.warnings, text))


def _check_size(path: Path, target: Target) -> None:
    """Refuse a picture of another size: its pixels lie nowhere, so that it cannot be resampled by place."""
    size, wanted = label_geometry(path).size, target.geometry.size
    if size != wanted:
        raise InputError(
            f"{path.name} has {' × '.join(map(str, size))} pixels, the image {' × '.join(map(str, wanted))}.",
            hint="Open the picture it was made for, or scale it to the size of the image first.",
            code="E_OTHER_SIZE",
        )
