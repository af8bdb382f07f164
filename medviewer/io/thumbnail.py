"""A small picture of the middle slice of a series, as PNG.

Right and down are the patient's left and back or feet, as on every other screen, whatever the order of the voxels.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import InputError
from medviewer.core.volume import Volume, VoxelArray
from medviewer.io.reader import open_series, readers
from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess

SIZE: Final = 96
#: A file that holds a whole volume is read for its picture only up to this size.
_MOST_BYTES: Final = 32 * 1024 * 1024
Grey = npt.NDArray[np.uint8]


def thumbnail(volume: Volume, size: int = SIZE) -> bytes:
    """Return the middle slice (k), in colour or windowed as its file says, `size` pixels along its longer side."""
    middle = volume.array.shape[0] // 2
    if volume.colors is not None:
        channels = [volume.colors[middle, :, :, n] for n in range(3)]
    else:
        channels = [_windowed(np.asarray(volume.array[middle], dtype=np.float32), volume)]
    shrunk = [_shrunk(*_upright(channel, volume), size) for channel in channels]
    return png(np.stack(shrunk, axis=-1) if len(shrunk) > 1 else shrunk[0])


def series_thumbnail(ctx: JobContext, series: SeriesRef, decode: WorkerProcess | None, size: int = SIZE) -> bytes:
    """Return the picture of a series that is not open, reading its middle file only.

    Raises
    ------
    InputError
        When it has no picture, its file cannot be read, or the one file is too big to read for a picture.
    """
    if not series.files or not any(series.kind in one.kinds for one in readers()):
        raise InputError("The object has no picture.", code="E_NO_IMAGE")
    number = len(series.files) // 2
    middle = series.files[number]
    if len(series.files) == 1 and middle.stat().st_size > _MOST_BYTES:
        raise InputError("The file is too big to read for a picture.", code="E_TOO_BIG")
    columns, rows, _ = series.size or (0, 0, 0)
    one = replace(
        series,
        files=(middle,),
        frames=series.frames[number : number + 1],
        time_labels=(),
        size=(columns, rows, 1) if len(series.files) > 1 else series.size,
        volume=series.volume or len(series.files) > 1,
        interpolation="",
    )
    return thumbnail(open_series(ctx, one, decode), size)


def _windowed(plane: VoxelArray, volume: Volume) -> Grey:
    values = plane[np.isfinite(plane)]
    if volume.padding is not None:
        values = values[values != volume.padding]
    if volume.window is not None and volume.window[1] > 0:
        low, width = volume.window[0] - volume.window[1] / 2, volume.window[1]
    elif values.size:
        low, high = (float(v) for v in np.percentile(values, [1.0, 99.0]))
        width = max(high - low, 1e-3)
    else:
        low, width = 0.0, 1.0
    scaled = np.clip((np.nan_to_num(plane, nan=low, posinf=low, neginf=low) - low) * (255.0 / width), 0.0, 255.0)
    if volume.inverted:
        scaled = 255.0 - scaled
    return scaled.astype(np.uint8)


def _upright(grey: Grey, volume: Volume) -> tuple[Grey, tuple[float, float]]:
    """Return a slice (j, i) turned to how it is looked at, and its spacing (down, right) in mm."""
    direction = np.asarray(volume.geometry.direction, dtype=np.float64).reshape(3, 3)
    along_i, along_j = direction[:, 0], direction[:, 1]
    axis_i, axis_j = int(np.argmax(np.abs(along_i))), int(np.argmax(np.abs(along_j)))
    spacing = (volume.geometry.spacing[1], volume.geometry.spacing[0])
    if axis_i > axis_j:
        # Heads are up and noses left: the axis that comes later among left, back, head runs down.
        grey, spacing = grey.T, (spacing[1], spacing[0])
        along_i, along_j, axis_i, axis_j = along_j, along_i, axis_j, axis_i
    if along_i[axis_i] < 0:
        grey = grey[:, ::-1]
    if (along_j[axis_j] < 0) != (axis_j == 2):
        grey = grey[::-1]
    return grey, spacing


def _shrunk(grey: Grey, spacing: tuple[float, float], size: int) -> Grey:
    """Return a picture with square pixels, `size` along its longer side: means over blocks, or pixels repeated."""
    extent = [max(n * mm, 1e-6) for n, mm in zip(grey.shape, spacing, strict=True)]
    shape = [max(1, round(size * e / max(extent))) for e in extent]
    picture: npt.NDArray[np.float64] = grey.astype(np.float64)
    for axis, length in enumerate(shape):
        edges = np.linspace(0, picture.shape[axis], length + 1)
        starts = np.minimum(edges[:-1].astype(int), picture.shape[axis] - 1)
        if picture.shape[axis] <= length:
            picture = picture.take(starts, axis)
        else:
            counts = np.diff(np.append(starts, picture.shape[axis]))
            sums = np.add.reduceat(picture, starts, axis)
            picture = sums / (counts[:, None] if axis == 0 else counts[None, :])
    return np.rint(picture).astype(np.uint8)


def png(picture: Grey) -> bytes:
    """Return an 8-bit picture, grey (rows, columns) or RGB (rows, columns, 3), as PNG.

    References
    ----------
    Portable Network Graphics (PNG) Specification, W3C Recommendation.
    """
    rows, columns = picture.shape[:2]
    lines = np.zeros((rows, picture[0].size + 1), np.uint8)
    lines[:, 1:] = picture.reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2 if picture.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
