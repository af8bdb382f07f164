"""NRRD images and Slicer's segmentations (.seg.nrrd): header by our own parser, voxels in the decode worker.

References
----------
https://teem.sourceforge.net/nrrd/format.html; 3D Slicer developer guide, "Segmentations, storage".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesWarning, Study
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
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
from medviewer.io.raw_voxels import (
    Coding,
    RawBlock,
    Voxels,
    at_the_end,
    beside,
    check_block,
    read_block,
    read_head,
    volume_values,
)
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.jobs.job import JobContext

SUFFIXES: Final = (".nrrd", ".nhdr")
_TYPES: Final = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODINGS: Final[Mapping[str, Coding]] = {
    "raw": "raw", "gzip": "deflate", "gz": "deflate", "bzip2": "bzip2", "bz2": "bzip2",
    "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
#: Name of a space -> signs that make it LPS.
_SPACES: Final = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_VECTOR: Final = re.compile(r"\(([^()]*)\)|none")
#: Kinds of an axis that counts volumes.
_POINT_KINDS: Final = frozenset({"", "none", "???", "list", "time", "domain", "space", "scalar"})
_SEGMENT_KEY: Final = re.compile(r"Segment\d+_")


@dataclass(frozen=True, slots=True)
class NrrdHeader:
    """A parsed header.

    Attributes
    ----------
    fields : mapping
        ``field: value`` lines, lower-case names.
    pairs : mapping
        ``key:=value`` lines as they stand: Slicer's segments.
    block : RawBlock
        Sizes with the fastest axis first.
    spatial : tuple of int
        Which three axes lie in space.
    geometry : Geometry
        LPS mm.
    """

    fields: Mapping[str, str]
    pairs: Mapping[str, str]
    block: RawBlock
    spatial: tuple[int, ...]
    geometry: Geometry
    has_space: bool
    times: Times = ONE_TIME

    @property
    def is_segmentation(self) -> bool:
        """Whether Slicer wrote it as a segmentation."""
        return any(_SEGMENT_KEY.match(key) for key in self.pairs)


def list_nrrd(path: Path) -> Study:
    """Return an NRRD file as a study of one series; a segmentation is listed as such, not as a volume."""
    name = re.sub(r"(\.seg)?\.(nrrd|nhdr)$", "", path.name, flags=re.IGNORECASE)
    try:
        header = read_header(path)
    except InputError as error:
        return gridless_study(path, "nrrd", name, error)
    labels = header.is_segmentation or (header.block.dtype[1] in "iu" and named_like_labels(path))
    layered = header.is_segmentation and bool(header.times.labels)
    warnings = grid_warnings(header.geometry) + ([] if header.has_space else [NO_ORIENTATION])
    if layered:
        warnings.append(SeriesWarning("W_NOT_IMAGE", "A segmentation with overlapping segments, not an image."))
    times = ONE_TIME if layered else header.times
    return image_study(
        path, "nrrd", name, header.geometry, labels=labels, volume=not layered, warnings=warnings, times=times
    )  # fmt: skip


@reader("nrrd", kinds=["nrrd"], suffixes=SUFFIXES, listing=list_nrrd)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read an NRRD image in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP
    return read_image(ctx, request, "medviewer.io.readers.nrrd:read_voxels", read_header, "native")


def read_voxels(ctx: JobContext, path: object) -> Voxels:
    """Read voxels (k, j, i), or (point, k, j, i); runs in the decode worker."""
    assert isinstance(path, Path)
    ctx.progress(None, "Reading NRRD")
    header = read_header(path)
    return Voxels(volume_values(read_layers(header).reshape(header.times.shape(header.geometry))))


def read_layers(header: NrrdHeader) -> npt.NDArray[np.generic]:
    """Return stored values (layer, k, j, i); a 3-D image has one layer. Runs in the decode worker."""
    stored = read_block(header.block)
    last = stored.ndim - 1
    space = [last - axis for axis in header.spatial]
    layers = np.moveaxis(stored, space, (-1, -2, -3))
    return layers.reshape(-1, *layers.shape[-3:])


def read_header(path: Path) -> NrrdHeader:
    """Parse a header and check it against the file.

    Raises
    ------
    InputError
        ``E_NRRD``, ``E_EXTERNAL_DATA``, ``E_4D``, ``E_TRUNCATED``, ``E_BOMB``, ``E_GEOMETRY`` and the like.
    """
    head = read_head(path)
    if not head.startswith(b"NRRD000"):
        raise InputError(f"{path.name} is not an NRRD file.", code="E_NRRD")
    fields, pairs, end = _parse(head)
    try:
        return _interpret(path, fields, pairs, end)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path.name} has a broken NRRD header ({error}).", code="E_NRRD") from error


def _parse(head: bytes) -> tuple[dict[str, str], dict[str, str], int]:
    """Return fields, key-value pairs, and where the header ends (its blank line included)."""
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    position = 0
    while position < len(head):
        stop = head.find(b"\n", position)
        stop = len(head) if stop < 0 else stop
        line = head[position:stop].decode("utf-8", errors="replace").rstrip("\r")
        position = stop + 1
        if not line:
            break
        if line.startswith(("#", "NRRD")):
            continue
        key, mark, value = line.partition(":")
        if not mark:
            continue
        if value.startswith("="):
            pairs[key] = value[1:]
        else:
            fields[key.strip().lower()] = value.strip()
    return fields, pairs, position


def _interpret(path: Path, fields: Mapping[str, str], pairs: Mapping[str, str], end: int) -> NrrdHeader:
    sizes = tuple(int(n) for n in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]) or not 2 < len(sizes) < 8:
        raise ValueError("dimension and sizes disagree")
    name = fields["type"].lower()
    code = next((code for code, names in _TYPES.items() if name in names), None)
    coding = _CODINGS.get(fields["encoding"].lower())
    if code is None or coding is None:
        raise ValueError(f"type {fields['type']}, encoding {fields['encoding']}")
    data = fields.get("data file", fields.get("datafile"))
    block = RawBlock(
        path=path if data is None else beside(path, data),
        offset=end if data is None else 0,
        sizes=sizes,
        dtype=(">" if fields.get("endian", "little").lower() == "big" else "<") + code,
        coding=coding,
    )
    skip = int(fields.get("byte skip", fields.get("byteskip", 0)))
    if int(fields.get("line skip", fields.get("lineskip", 0))) or skip not in (0, -1) or (skip and coding != "raw"):
        raise ValueError("skipped lines or bytes")
    if skip:
        block = at_the_end(block)
    check_block(block)
    steps, spatial = _steps(fields, len(sizes))
    extra = len(sizes) - 3
    if len(spatial) != 3 or extra > 1:
        shape = " x ".join(map(str, sizes))
        raise InputError(f"{path.name} has {len(sizes)} dimensions ({shape}).", hint="Split it first.", code="E_4D")
    times = _times(path, fields, sizes, spatial)
    signs, has_space = _signs(fields)
    origin = _point(fields.get("space origin", "(0,0,0)"))
    i, j, k = (sizes[axis] for axis in spatial)
    columns = np.array([steps[axis] for axis in spatial]).T * signs[:, None]
    geometry = grid_of((i, j, k), columns, np.array(origin) * signs, path.name)
    return NrrdHeader(fields, pairs, block, spatial, geometry, has_space, times)


def _times(path: Path, fields: Mapping[str, str], sizes: Sequence[int], spatial: Sequence[int]) -> Times:
    """Return the points of the axis that does not lie in space.

    Raises
    ------
    InputError
        ``E_PIXEL_FORMAT`` when it holds the parts of one value: a colour, a vector, a complex number.
    """
    kinds = fields.get("kinds", "").split()
    for axis, count in enumerate(sizes):
        if axis in spatial or count == 1:
            continue
        kind = kinds[axis].lower() if axis < len(kinds) else ""
        if kind not in _POINT_KINDS:
            text = f"{path.name} has {count} numbers a voxel ({kinds[axis]}); only plain numbers are opened."
            raise InputError(text, hint="Convert it to one number a voxel.", code="E_PIXEL_FORMAT")
        return Times.of(count)
    return ONE_TIME


def _signs(fields: Mapping[str, str]) -> tuple[npt.NDArray[np.float64], bool]:
    """Return what makes the space LPS, and whether the file names one that lies in a patient."""
    name = fields.get("space", "").lower().removesuffix("-time")
    signs = _SPACES.get(name[:3] if name in ("lpst", "rast", "last") else name)
    return np.array(signs or (1, 1, 1), dtype=np.float64), signs is not None


def _steps(fields: Mapping[str, str], count: int) -> tuple[list[tuple[float, ...] | None], tuple[int, ...]]:
    """Return each axis's step (None for one that does not lie in space), and the axes that do."""
    steps: list[tuple[float, ...] | None]
    if "space directions" in fields:
        steps = _vectors(fields["space directions"])
    else:
        spacings = [float(word) for word in fields.get("spacings", " ".join(["1"] * count)).split()]
        axes = [n for n in range(count) if np.isfinite(spacings[n])][-3:]
        steps = [None] * count
        for row, axis in enumerate(axes):
            steps[axis] = tuple(spacings[axis] if row == column else 0.0 for column in range(3))
    if len(steps) != count:
        raise ValueError("space directions")
    return steps, tuple(n for n, step in enumerate(steps) if step is not None)


def _vectors(text: str) -> list[tuple[float, ...] | None]:
    found: list[tuple[float, ...] | None] = []
    for match in _VECTOR.finditer(text):
        vector = None if match[1] is None else tuple(float(word) for word in match[1].split(","))
        if vector is not None and len(vector) == 4:
            vector = _of_three(vector)
        if vector is not None and len(vector) != 3:
            raise ValueError("a vector without three numbers")
        found.append(None if vector is None or all(np.isnan(vector)) else vector)
    return found


def _point(text: str) -> tuple[float, ...]:
    """Return a place in space; a fourth number is a time, and a place that is not known is 0."""
    match = _VECTOR.match(text)
    numbers = [float(word) for word in match[1].split(",")] if match is not None and match[1] is not None else []
    if not numbers or all(np.isnan(numbers)):
        return (0.0, 0.0, 0.0)
    if len(numbers) not in (3, 4):
        raise ValueError("space origin")
    return tuple(numbers[:3])


def _of_three(vector: tuple[float, ...]) -> tuple[float, ...] | None:
    """Return the part in space of a vector whose fourth number is time, as ITK writes them; None for an axis of time.

    Raises
    ------
    ValueError
        When it goes along both.
    """
    if vector[3] and any(vector[:3]):
        raise ValueError("an axis in space and time")
    return None if vector[3] else vector[:3]
