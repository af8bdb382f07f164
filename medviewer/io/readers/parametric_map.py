"""Parametric Map: real-world values (diffusion, perfusion, ...) on a grid of their own, whole or fractional numbers.

References
----------
DICOM PS3.3 A.75 (Parametric Map IOD), C.7.6.16.2.11 (Real World Value Mapping).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import psutil

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.errors import DecodeError, GeometryError, InputError, MedViewerError, OutOfMemory
from medviewer.core.volume import Volume
from medviewer.io.decode_worker import call_for_file, decode_worker
from medviewer.io.derived import read_dataset
from medviewer.io.dicom_frames import frame_headers
from medviewer.io.dicom_geometry import slice_frame, slice_position
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_slices import Slices
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_text import decoded_text
from medviewer.io.image_file import finite_voxels
from medviewer.io.reader import OpenRequest, reader
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DECODE: Final = "medviewer.io.readers.parametric_map:decode"
#: Codes of UCUM for numbers without a unit.
_NO_UNIT: Final = frozenset({"1", "{no units}", "no units"})


@dataclass(frozen=True, slots=True, eq=False)
class MapFrames:
    """What the worker returns: real-world values, shape (n, rows, columns), in the order of the file.

    Attributes
    ----------
    unit : str
        UCUM code.
    quantity : str
        What was measured, in words.
    """

    array: npt.NDArray[np.float32]
    unit: str = ""
    quantity: str = ""
    warnings: tuple[SeriesWarning, ...] = ()


@reader("parametric_map", kinds=["parametric_map"])
def read(ctx: JobContext, request: OpenRequest) -> Volume:
    """Read a map with one value at each place.

    Raises
    ------
    InputError
        ``E_SEVERAL_MAPS``, ``E_UNEVEN_SPACING``, ``E_NO_POSITION`` when its frames are no volume; what decoding says.
    """
    series = request.series
    path = series.files[0]
    header = read_header(path)
    slices = _slices(header)
    order = [slice_header.frame or 0 for slice_header in slices.headers]
    with decode_worker(request.decode) as worker:
        frames = call_for_file(worker, DECODE, path, ctx, path)
    assert isinstance(frames, MapFrames)
    geometry = slices.fit.geometry
    assert geometry is not None
    if frames.array.shape != (len(order), *geometry.shape[1:]):
        raise DecodeError(f"{path.name} decodes to {frames.array.shape}.", code="E_DIMENSIONS")
    array, padding, notes = finite_voxels(frames.array[order])
    volume = Volume(
        array=array,
        geometry=geometry,
        name=_name(series, frames.quantity),
        modality=series.modality,
        unit=frames.unit,
        series=series,
        padding=padding,
        body_part_examined=series.body_part_examined,
        patient_name=decoded_text(header, Tag.PATIENT_NAME),
        patient_id=decoded_text(header, Tag.PATIENT_ID),
        study_date=header.text(Tag.STUDY_DATE),
        warnings=(*series.warnings, *frames.warnings, *notes),
        decoder="pydicom",
    )
    request.on_first(volume)
    request.on_filled(geometry.region)
    return volume


def _name(series: SeriesRef, quantity: str) -> str:
    return series.title if not quantity or quantity in series.title else f"{series.title} ({quantity})"


def _slices(header: Header) -> Slices:
    """Return the frames in the order of their places, one at each and evenly spaced."""
    name = header.path.name
    if Tag.PER_FRAME_FUNCTIONAL_GROUPS not in header.values:
        raise GeometryError(f"{name} does not say where its frames lie.", code="E_NO_POSITION")
    # Where its pixels lie, which may be floating-point numbers, is no matter here.
    frames = frame_headers(replace(header, pixel_length=None))
    positions = np.array([slice_position(frame) for frame in frames])
    slices = Slices.sorted(frames, [slice_frame(frame) for frame in frames], positions)
    if not all(frame.is_parallel(slices.frames[0]) for frame in slices.frames):
        raise GeometryError(f"{name} has frames in several orientations or sizes.", code="E_GEOMETRY")
    if slices.most_at_one_place > 1:
        text = f"{name} holds {slices.most_at_one_place} values at one place; only maps with one are opened."
        raise InputError(text, hint="Ask for one file for each quantity.", code="E_SEVERAL_MAPS")
    if slices.fit.geometry is None:
        text = f"{name} has frames that are not evenly spaced: one lies {slices.fit.deviation_mm:.2f} mm off a grid."
        raise GeometryError(text, code="E_UNEVEN_SPACING")
    return slices


# ---- in the decode worker


def decode(ctx: JobContext, path: object) -> MapFrames:
    """Decode a map and turn its stored values into those of the real world; runs in the decode worker."""
    assert isinstance(path, Path)
    ctx.progress(None, "Reading a parametric map")
    dataset = read_dataset(path)
    try:
        _check_memory(dataset, path.name)
        stored = np.asarray(dataset.pixel_array)
        stored = stored.reshape(-1, *stored.shape[-2:])
        shared: Sequence[Dataset] = dataset.get("SharedFunctionalGroupsSequence") or ()
        own: Sequence[Dataset] = dataset.get("PerFrameFunctionalGroupsSequence") or ()
        mappings = [_mapping([item, *shared]) for item in own] or [None] * len(stored)
        return _real_values(stored, mappings)
    except MedViewerError:
        raise
    # A broken file breaks pydicom and its decoders in many ways; here, in the worker, each of them means the same.
    except Exception as error:
        raise DecodeError(f"{path.name} cannot be decoded ({type(error).__name__}: {error}).") from error


def _check_memory(dataset: Dataset, name: str) -> None:
    """Refuse before anything is decoded: stored values and real ones, twice, are there at the same time."""
    count = int(dataset.get("NumberOfFrames") or 1) * int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)
    needed = count * (8 + max(1, int(dataset.get("BitsAllocated") or 8) // 8))
    free = psutil.virtual_memory().available
    if needed > free:
        text = f"{name} needs {needed / 2**30:.1f} GB of memory and {free / 2**30:.1f} GB are free."
        raise OutOfMemory(text, hint="Close other studies and programs.")


def _mapping(groups: Sequence[Dataset]) -> Dataset | None:
    """Return the mapping of a frame: its own before the one for all frames."""
    for group in groups:
        items: Sequence[Dataset] = group.get("RealWorldValueMappingSequence") or ()
        if items:
            return items[0]
    return None


def _real_values(stored: npt.NDArray[Any], mappings: Sequence[Dataset | None]) -> MapFrames:
    if len(mappings) != len(stored):
        raise DecodeError(f"{len(stored)} frames and {len(mappings)} descriptions of them.", code="E_DIMENSIONS")
    values = np.empty(stored.shape, np.float32)
    for frame, mapping, real in zip(stored, mappings, values, strict=True):
        real[...] = frame if mapping is None else _mapped(frame, mapping)
    units = {_code(mapping, "MeasurementUnitsCodeSequence", "CodeValue") for mapping in mappings}
    quantities = {_quantity(mapping) for mapping in mappings}
    if len(units) > 1 or len(quantities) > 1:
        text = f"Its frames are in several units or quantities ({', '.join(sorted(units | quantities))})."
        raise DecodeError(text, hint="Ask for one file for each quantity.", code="E_SEVERAL_MAPS")
    (unit,), (quantity,) = units, quantities
    warnings: tuple[SeriesWarning, ...] = ()
    if None in mappings:
        warnings = (SeriesWarning("W_NO_MAPPING", "Stored values are shown: the map does not say what they mean."),)
    return MapFrames(values, "" if unit in _NO_UNIT else unit, quantity, warnings)


def _mapped(frame: npt.NDArray[Any], mapping: Dataset) -> npt.NDArray[np.float64]:
    table = mapping.get("RealWorldValueLUTData")
    if table is not None:
        first = int(mapping.RealWorldValueFirstValueMapped)
        values = np.atleast_1d(np.asarray(table, np.float64))
        return values[np.clip(frame.astype(np.int64) - first, 0, len(values) - 1)]
    slope, intercept = float(mapping.RealWorldValueSlope), float(mapping.RealWorldValueIntercept)
    return frame.astype(np.float64) * slope + intercept


def _code(mapping: Dataset | None, sequence: str, keyword: str) -> str:
    items: Sequence[Dataset] = (mapping.get(sequence) if mapping is not None else None) or ()
    return str(items[0].get(keyword, "") or "") if items else ""


def _quantity(mapping: Dataset | None) -> str:
    """Return the meaning of the quantity (246205007, SCT, in QuantityDefinitionSequence), else LUTExplanation."""
    items: Sequence[Dataset] = (mapping.get("QuantityDefinitionSequence") if mapping is not None else None) or ()
    for item in items:
        if _code(item, "ConceptNameCodeSequence", "CodeValue") in ("246205007", "G-C1C6"):
            return _code(item, "ConceptCodeSequence", "CodeMeaning")
    return str(mapping.get("LUTExplanation", "") or "") if mapping is not None else ""
