"""DICOM SEG (PS3.3 A.51), binary, referring to the original series. Segments may overlap."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from medviewer.core.errors import ExportError
from medviewer.core.params import Doc
from medviewer.core.provenance import MANUAL
from medviewer.core.segmentation import Mask, Segment
from medviewer.core.terminology import CodedConcept
from medviewer.core.version import __version__
from medviewer.core.volume import VoxelArray
from medviewer.export.case import Case
from medviewer.export.exporter import Check, Written, exporter
from medviewer.export.names import unique_names
from medviewer.export.seg_check import check_seg
from medviewer.export.seg_frames import number_frames
from medviewer.export.seg_source import source_datasets, true_slices
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    import highdicom
    from pydicom import Dataset

#: A SegmentLabel (0062,0005) is no longer than this.
_MAX_LABEL = 64
#: ST (PS3.5 6.2).
_MAX_DESCRIPTION = 1024
#: Overlapping segments are handed over one array each; above this they are spread over several files.
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class DicomSegOptions:
    """Options of the DICOM SEG export.

    Attributes
    ----------
    created : datetime or None
        Written into the file; now by default. With a given time, the same input gives the same bytes.
    """

    series_description: Annotated[str, Doc("SeriesDescription of the new series")] = "MedViewer segmentation"
    created: Annotated[datetime | None, Doc("Content date and time")] = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What goes into one file: segment number n + 1 is ``segments[n]``, drawn on the original `slices` of the case."""

    case: Case
    file: str
    segments: tuple[Segment, ...]
    slices: Sequence[int]

    def mask(self, segment: Segment) -> Mask:
        """Return the mask (n, j, i) of a segment on the original slices."""
        return _on_slices(self.case.mask(segment), self.slices)


def _on_slices(array: VoxelArray, slices: Sequence[int]) -> VoxelArray:
    """Return what a volume (k, j, i) has at the original slices; nothing is copied when that is all of it."""
    return array if len(slices) == len(array) else array[list(slices)]


def _parts(cases: Sequence[Case]) -> list[_Part]:
    """Spread every case over as few files as memory allows; empty segments are left out (a SEG cannot hold them)."""
    parts = []
    for case, name in zip(cases, unique_names(case.id for case in cases), strict=True):
        slices = true_slices(case)
        filled = [s for s in case.segments if _on_slices(case.mask(s), slices).any()]
        one_group = len({s.group for s in filled}) == 1
        count = len(filled) if one_group else max(1, _MAX_BYTES // case.volume.array.size)
        chunks = [tuple(filled[n : n + count]) for n in range(0, len(filled), max(1, count))]
        for n, chunk in enumerate(chunks):
            parts.append(_Part(case, f"{name}_seg{'' if n == 0 else f'_{n + 1}'}.dcm", chunk, slices))
    return parts


def _pixels(part: _Part) -> VoxelArray:
    """Return a label map (n, j, i) of segment numbers, or one mask each (n, j, i, m) where groups may overlap."""
    if len({s.group for s in part.segments}) > 1:
        return np.stack([part.mask(s) for s in part.segments], axis=-1).astype(np.uint8)
    labels = _on_slices(part.case.groups[part.segments[0].group], part.slices)
    numbers = np.zeros(int(labels.max()) + 1, dtype=np.uint16 if len(part.segments) > 255 else np.uint8)
    for n, segment in enumerate(part.segments):
        numbers[segment.value] = n + 1
    pixels: VoxelArray = numbers[labels]
    return pixels


def _label(segment: Segment) -> str:
    return " ".join(segment.name.replace("\\", "/").split())[:_MAX_LABEL] or f"Segment {segment.value}"


def _code(concept: CodedConcept) -> highdicom.sr.CodedConcept:
    from highdicom.sr import CodedConcept as Code

    return Code(concept.code_value, concept.coding_scheme_designator, concept.code_meaning)


def _description(part: _Part, number: int) -> highdicom.seg.SegmentDescription:
    import highdicom

    segment = part.segments[number - 1]
    run = segment.provenance
    manual = run.task in ("", MANUAL.task)
    kind = "MANUAL" if manual else "SEMIAUTOMATIC" if segment.edited else "AUTOMATIC"
    algorithm = None
    if not manual:
        made_by = {"model": run.model, "model_version": run.model_version, "weights_sha256": run.weights_sha256}
        parameters = {key: value for key, value in made_by.items() if value}
        parameters |= {key: json.dumps(value) for key, value in run.parameters.items()}
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=run.task[:64],
            family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            version=(run.version or "unknown")[:64],
            source="MedViewer",
            parameters=parameters or None,
        )
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=_label(segment),
        segmented_property_category=_code(segment.category),
        segmented_property_type=_code(segment.type),
        algorithm_type=kind,
        algorithm_identification=algorithm,
        anatomic_regions=[_code(segment.region)] if segment.region is not None else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )
    if segment.type_modifier is not None:
        term = described.SegmentedPropertyTypeCodeSequence[0]
        term.SegmentedPropertyTypeModifierCodeSequence = [_code(segment.type_modifier)]
    if segment.region is not None and segment.region_modifier is not None:
        described.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [_code(segment.region_modifier)]
    if segment.flags:
        described.SegmentDescription = " ".join(flag.text for flag in segment.flags)[:_MAX_DESCRIPTION]
    return described


def _uid(*parts: object) -> str:
    """Return a UID that depends on the content alone (PS3.5 B.2, UUID derived)."""
    digest = hashlib.sha256("\x00".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _dataset(part: _Part, options: DicomSegOptions, created: datetime) -> Dataset:
    import highdicom

    case, pixels = part.case, _pixels(part)
    sources = source_datasets(case, part.slices)
    content = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    segments = json.dumps([s for s in case.provenance()["segments"] if s["value"] in {p.value for p in part.segments}])
    identity = (case.volume.series_instance_uid, content, segments, created.isoformat(), part.file, __version__)
    seg = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[_description(part, n + 1) for n in range(len(part.segments))],
        series_instance_uid=_uid("series", *identity),
        series_number=9000 + int(sources[0].get("SeriesNumber") or 0) % 1000,
        sop_instance_uid=_uid("instance", *identity),
        instance_number=1,
        manufacturer="MedViewer",
        manufacturer_model_name="MedViewer",
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_description="MedViewer segmentation",
        series_description=options.series_description[:64],
    )
    if case.series is not None and case.series.frames:
        number_frames(seg, case.series.frames)
    # Segment names may be in any script, whatever the source was written in.
    seg.SpecificCharacterSet = "ISO_IR 192"
    _make_deterministic(seg, created, _uid("dimension organization", *identity))
    return seg


def _make_deterministic(seg: Dataset, created: datetime, dimension_organization_uid: str) -> None:
    """Put the given time and a derived UID where highdicom takes the present time and a random one."""
    for what in ("Content", "Series", "InstanceCreation"):
        setattr(seg, f"{what}Date", created.strftime("%Y%m%d"))
        setattr(seg, f"{what}Time", created.strftime("%H%M%S"))
    for item in seg.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = created.strftime("%Y%m%d%H%M%S")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension_organization_uid


def _verify(ctx: JobContext, cases: Sequence[Case], folder: Path, options: DicomSegOptions) -> list[Check]:
    checks: list[Check] = []
    parts = _parts(cases)
    for n, part in enumerate(parts):
        ctx.progress(n / len(parts), f"Checking {part.file}")
        expected = [(_label(segment), segment, part.mask(segment)) for segment in part.segments]
        checks += check_seg(folder / part.file, part.case, expected)
    return checks


@exporter("dicom-seg", "DICOM SEG", accepts=["segments"], verify=_verify)
def write(ctx: JobContext, cases: Sequence[Case], folder: Path, options: DicomSegOptions) -> Written:
    """Write ``<case>_seg.dcm``; it carries the patient of its series, as the standard demands."""
    notes: list[str] = []
    for case in cases:
        slices = true_slices(case)
        if len(slices) < case.geometry.size[2]:
            notes.append(
                f"{case.id}: written on its {len(slices)} original slices; what lies between them is left out."
            )
        for segment in case.segments:
            if not _on_slices(case.mask(segment), slices).any():
                notes.append(f"{case.id}: “{segment.name}” is empty and was left out; a DICOM SEG cannot hold it.")
            elif _label(segment) != segment.name:
                notes.append(f"{case.id}: “{segment.name}” is called “{_label(segment)}”.")
        notes += [f"{case.id}: {warning.text}" for warning in case.volume.warnings]
    parts = _parts(cases)
    if not parts:
        raise ExportError("All segments are empty.", hint="A DICOM SEG cannot hold empty segments.", code="E_EMPTY")
    created = options.created or datetime.now(UTC).astimezone()
    files = []
    for n, part in enumerate(parts):
        ctx.progress(n / len(parts), part.file)
        dataset: Any = _dataset(part, options, created)
        files.append(folder / part.file)
        dataset.save_as(files[-1])
    return Written(tuple(files), tuple(notes))
