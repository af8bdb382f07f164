"""The slices in a file, each as a header of its own: frames of a multi-frame file, or tiles of a mosaic.

What a frame has of its own (place, orientation, spacing, rescale, echo, time point, ...) is taken from the functional
groups, those of the frame before the shared ones.

References
----------
DICOM PS3.3 C.7.6.16 (Multi-frame Functional Groups), C.7.6.17 (Multi-frame Dimension).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import DecodeError, InputError
from medviewer.io.dicom_elements import read_elements, refused
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_mosaic import is_mosaic, mosaic_tiles
from medviewer.io.dicom_nuclear import is_nuclear, nuclear_frames
from medviewer.io.dicom_tags import Tag
from medviewer.io.pixel_format import check_native_length, pixel_format

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_FRAME_TYPES: Final = (
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence", "XAXRFFrameCharacteristicsSequence",
    "XRay3DFrameTypeSequence",
)  # fmt: skip
#: Functional group, keyword in it, and the tag of single-frame images with the same meaning.
_SOURCES: Final = (
    ("PlanePositionVolumeSequence", "ImagePositionVolume", Tag.IMAGE_POSITION_VOLUME),
    ("PlaneOrientationVolumeSequence", "ImageOrientationVolume", Tag.IMAGE_ORIENTATION_VOLUME),
    ("ImageDataTypeSequence", "DataType", Tag.IMAGE_TYPE),
    ("PlanePositionSequence", "ImagePositionPatient", Tag.IMAGE_POSITION_PATIENT),
    ("PlaneOrientationSequence", "ImageOrientationPatient", Tag.IMAGE_ORIENTATION_PATIENT),
    ("PixelMeasuresSequence", "PixelSpacing", Tag.PIXEL_SPACING),
    ("PixelMeasuresSequence", "SliceThickness", Tag.SLICE_THICKNESS),
    ("PixelMeasuresSequence", "SpacingBetweenSlices", Tag.SPACING_BETWEEN_SLICES),
    ("PixelValueTransformationSequence", "RescaleSlope", Tag.RESCALE_SLOPE),
    ("PixelValueTransformationSequence", "RescaleIntercept", Tag.RESCALE_INTERCEPT),
    ("PixelValueTransformationSequence", "RescaleType", Tag.RESCALE_TYPE),
    ("FrameVOILUTSequence", "WindowCenter", Tag.WINDOW_CENTER),
    ("FrameVOILUTSequence", "WindowWidth", Tag.WINDOW_WIDTH),
    ("FrameContentSequence", "StackID", Tag.STACK_ID),
    ("FrameContentSequence", "TemporalPositionIndex", Tag.TEMPORAL_POSITION_IDENTIFIER),
    ("FrameContentSequence", "FrameAcquisitionNumber", Tag.ACQUISITION_NUMBER),
    ("FrameContentSequence", "FrameAcquisitionDateTime", Tag.ACQUISITION_TIME),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset", Tag.FRAME_REFERENCE_TIME),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", Tag.TRIGGER_TIME),
    ("MREchoSequence", "EffectiveEchoTime", Tag.ECHO_TIME),
    ("MRTimingAndRelatedParametersSequence", "RepetitionTime", Tag.REPETITION_TIME),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle", Tag.FLIP_ANGLE),
    ("MRModifierSequence", "InversionTimes", Tag.INVERSION_TIME),
    ("CTReconstructionSequence", "ConvolutionKernel", Tag.CONVOLUTION_KERNEL),
    ("MRDiffusionSequence", "DiffusionBValue", Tag.DIFFUSION_B_VALUE),
    *((name, "FrameType", Tag.IMAGE_TYPE) for name in _FRAME_TYPES),
)
_BINARY: Final = frozenset({Tag.DIFFUSION_B_VALUE, Tag.DIFFUSION_GRADIENT_ORIENTATION})
_GROUPS: Final = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence"]
#: Dimensions that only say where in a stack a frame lies: StackID, InStackPositionNumber, ImagePositionPatient and its
#: sequence. The others tell frames at one place apart.
_PLACES: Final = frozenset({0x00209056, 0x00209057, 0x00200032, 0x00209113})


def frame_headers(header: Header) -> list[Header]:
    """Return the frames of a multi-frame file, or the tiles of a mosaic; any other file as it is.

    Frames that do not each say where they lie are marked as those of a film.

    Raises
    ------
    InputError
        When the functional groups are broken, the frames are not all there, or a mosaic cannot be taken apart.
    """
    grouped = Tag.PER_FRAME_FUNCTIONAL_GROUPS in header.values
    mosaic = is_mosaic(header)
    if header.frames is None or not header.has_pixels or not (grouped or mosaic or header.frames > 1):
        return [header]
    known = _recent.get(header)
    if known is None:
        known = _recent.put(header, _tiles(header) if mosaic else _frames(header))
    return known


def slice_headers(series: SeriesRef) -> list[Header]:
    """Return the header of every slice of a series, in the order of k; raises `InputError` for a broken file."""
    if not series.frames:
        return [read_header(path) for path in series.files]
    frames = {path: frame_headers(read_header(path)) for path in dict.fromkeys(series.files)}
    try:
        return [frames[path][n] for path, n in zip(series.files, series.frames, strict=True)]
    except (IndexError, ValueError) as error:
        raise InputError(
            f"Series “{series.title}” has changed on disk.", hint="Open its folder again.", code="E_CHANGED"
        ) from error


class _RecentFrames:
    """Frames of the files read last, so that opening a series does not parse its groups again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._frames: OrderedDict[tuple[Path, int, int], list[Header]] = OrderedDict()
        self._lock = Lock()

    def get(self, header: Header) -> list[Header] | None:
        return self._frames.get((header.path, header.file_size, header.mtime_ns))

    def put(self, header: Header, frames: list[Header]) -> list[Header]:
        with self._lock:
            self._frames[header.path, header.file_size, header.mtime_ns] = frames
            if len(self._frames) > self._most:
                self._frames.popitem(last=False)
        return frames


_recent = _RecentFrames(16)


def _frames(header: Header) -> list[Header]:
    name = header.path.name
    count = header.frames or 0
    if Tag.PER_FRAME_FUNCTIONAL_GROUPS not in header.values:
        nuclear = _nuclear(header) if is_nuclear(header) else None
        return nuclear or _film(header, [{}] * _possible(header, count))
    with refused(header.path, "has broken functional groups"):
        dataset = read_elements(header.path, _GROUPS)
        per_frame: Sequence[Dataset] = dataset.get(_GROUPS[1]) or ()
        shared = _group_values((dataset.get(_GROUPS[0]) or [None])[0], header)
        own = [_in_one_space(shared | _group_values(item, header)) for item in per_frame]
    placed = any(Tag.IMAGE_POSITION_PATIENT in values for values in own)
    if not placed and len(own) != count:
        return _film(header, [shared] * _possible(header, count))
    if len(own) != count:
        raise InputError(f"{name} declares {count} frames and describes {len(own)}.", code="E_DIMENSIONS")
    positions = {(values.get(Tag.IMAGE_POSITION_PATIENT), values.get(Tag.IMAGE_ORIENTATION_PATIENT)) for values in own}
    if not placed or (count > 1 and len(positions) == 1):
        # All at one place: a series in time.
        return _film(header, own)
    with refused(header.path, "has broken functional groups"):
        for values, item in zip(own, per_frame, strict=True):
            _add_dimensions(values, item, dataset)
    return _placed_in_file(header, _with_values(header, own))


def _with_values(header: Header, own: Sequence[dict[int, bytes]], *, film: bool = False) -> list[Header]:
    base = {tag: value for tag, value in header.values.items() if tag not in _OF_THE_WHOLE}
    return [replace(header, values=base | v if v else base, frame=n, film=film) for n, v in enumerate(own)]


def _film(header: Header, own: Sequence[dict[int, bytes]]) -> list[Header]:
    return _placed_in_file(header, _with_values(header, own, film=True))


#: A compressed frame takes at least this many bytes: an item of its own (PS3.5 A.4).
_LEAST_BYTES: Final = 8


def _possible(header: Header, count: int) -> int:
    """Return a number of frames that the file can hold, before anything of that length is made."""
    form = pixel_format(replace(header, values=_without(header.values, Tag.NUMBER_OF_FRAMES)))
    if header.is_native:
        check_native_length(header, form, frames=count)
    elif header.pixel_length is None:
        if count * _LEAST_BYTES > header.file_size:
            raise DecodeError(
                f"{header.path.name} declares {count} frames and is too short for them.", code="E_DIMENSIONS"
            )
    elif (count * form.nbits + 7) // 8 > header.pixel_length:
        raise DecodeError(
            f"{header.path.name} holds {header.pixel_length} bytes of pixels, too few for {count} frames.",
            code="E_PIXEL_LENGTH",
        )
    return count


def _without(values: Mapping[int, bytes], left_out: int) -> dict[int, bytes]:
    return {tag: value for tag, value in values.items() if tag != left_out}


def _in_one_space(values: dict[int, bytes]) -> dict[int, bytes]:
    """Place an ultrasound frame in the space of its probe where it has no place in the patient; else forget that."""
    position = values.pop(Tag.IMAGE_POSITION_VOLUME, None)
    orientation = values.pop(Tag.IMAGE_ORIENTATION_VOLUME, None)
    if position is None or orientation is None or Tag.IMAGE_POSITION_PATIENT in values:
        return values
    places = {Tag.IMAGE_POSITION_PATIENT: position, Tag.IMAGE_ORIENTATION_PATIENT: orientation}
    # The frame of reference of the patient is not that of the probe.
    return values | places | {Tag.IMAGE_POSITION_VOLUME: position, Tag.FRAME_OF_REFERENCE_UID: b""}


def _nuclear(header: Header) -> list[Header] | None:
    """Return the frames of a nuclear medicine image that lie in the patient; None for others."""
    with refused(header.path):
        own = nuclear_frames(header)
    return None if own is None else _placed_in_file(header, _with_values(header, own))


def _tiles(header: Header) -> list[Header]:
    tiles = mosaic_tiles(header)
    return [replace(header, values={**header.values, **own}, frame=n, tile=t) for n, (t, own) in enumerate(tiles)]


_OF_THE_WHOLE: Final = frozenset({Tag.NUMBER_OF_FRAMES, Tag.PER_FRAME_FUNCTIONAL_GROUPS, Tag.SHARED_FUNCTIONAL_GROUPS})


def _placed_in_file(header: Header, frames: list[Header]) -> list[Header]:
    """Tell each uncompressed frame where its own pixels lie, when all of them are there."""
    if not header.is_native or header.pixel_offset is None:
        return frames
    form = pixel_format(frames[0])
    check_native_length(header, form, frames=len(frames))
    placed = []
    for frame in frames:
        first_bit, bits = (frame.frame or 0) * form.nbits, form.nbits
        length = (first_bit % 8 + bits + 7) // 8
        placed.append(replace(frame, pixel_offset=header.pixel_offset + first_bit // 8, pixel_length=length))
    return placed


def _group_values(item: Dataset | None, header: Header) -> dict[int, bytes]:
    """Return what one item of functional groups says, as the elements of a single-frame image would."""
    values: dict[int, bytes] = {}
    if item is None:
        return values
    for sequence, keyword, tag in _SOURCES:
        for inner in item.get(sequence) or ():
            value = inner.get(keyword)
            if value not in (None, ""):
                values[tag] = _bytes(value, tag, header)
    for diffusion in item.get("MRDiffusionSequence") or ():
        for direction in diffusion.get("DiffusionGradientDirectionSequence") or ():
            value = direction.get("DiffusionGradientOrientation")
            if value:
                tag = Tag.DIFFUSION_GRADIENT_ORIENTATION
                values[tag] = _bytes(value, tag, header)
    return values


def _bytes(value: object, tag: int, header: Header) -> bytes:
    parts: list[Any] = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    if tag in _BINARY:
        order = ">" if header.big_endian else "<"
        return struct.pack(f"{order}{len(parts)}d", *(float(part) for part in parts))
    return "\\".join(str(part) for part in parts).encode("latin-1", "replace")


def _add_dimensions(values: dict[int, bytes], item: Dataset, dataset: Dataset) -> None:
    """Keep the index values of the dimensions that are no place: what still tells frames apart."""
    pointers = [int(index.get("DimensionIndexPointer") or 0) for index in dataset.get(_GROUPS[2]) or ()]
    for content in item.get("FrameContentSequence") or ():
        indices = content.get("DimensionIndexValues")
        if indices is None:
            continue
        parts = list(indices) if isinstance(indices, Iterable) else [indices]
        kept = [part for part, pointer in zip(parts, pointers, strict=False) if pointer not in _PLACES]
        values[Tag.DIMENSION_INDEX_VALUES] = "\\".join(map(str, kept)).encode()
