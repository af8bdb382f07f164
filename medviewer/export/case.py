"""What is exported: values that nobody changes while a job writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medviewer.core.annotation import Box3D
from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.errors import ExportError
from medviewer.core.finding import Assessment
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import LabelArray, LabelCopy, Mask, Segment, Segmentation
from medviewer.core.serial import terms_to_json
from medviewer.core.suv import UCUM
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace


class GroupCopies(Mapping[int, LabelArray]):
    """Label maps as they were when the export began; each is copied when the export comes to it."""

    def __init__(self, copies: Mapping[int, LabelCopy]) -> None:
        self._copies = copies

    def __getitem__(self, group_id: int) -> LabelArray:
        return self._copies[group_id].get()

    def __iter__(self) -> Iterator[int]:
        return iter(self._copies)

    def __len__(self) -> int:
        return len(self._copies)

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (list(self.items()),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One volume with what was found in it.

    Attributes
    ----------
    id : str
        Names the case in the export; patient-free.
    segments : tuple of Segment
        In the order of the list. Later ones have no priority over earlier ones: groups may overlap.
    groups : mapping of group id to uint16 array (k, j, i)
    runs : tuple of Provenance
        Every task run of the workspace.
    """

    id: str
    volume: Volume
    segments: tuple[Segment, ...] = ()
    groups: Mapping[int, LabelArray] = field(default_factory=dict)
    boxes: tuple[Box3D, ...] = ()
    runs: tuple[Provenance, ...] = ()
    assessments: tuple[Assessment, ...] = ()

    @property
    def series(self) -> SeriesRef | None:
        """The images of the volume: of the point that is exported, where it has a time axis."""
        volume = self.volume
        if volume.series is None or volume.time is None:
            return volume.series
        return volume.series.at_time(volume.time.index)

    @property
    def geometry(self) -> Geometry:
        """Grid of the volume and of every mask, LPS mm."""
        return self.volume.geometry

    def mask(self, segment: Segment) -> Mask:
        """Return the mask (k, j, i) of a segment."""
        mask: Mask = self.groups[segment.group] == segment.value
        return mask

    def provenance(self) -> dict[str, Any]:
        """Return what an export says about where the case comes from; JSON-ready, patient-free."""
        volume = self.volume
        return {
            "case": self.id,
            "series_instance_uid": volume.series_instance_uid,
            "study_instance_uid": volume.series.study_instance_uid if volume.series else "",
            "modality": volume.modality,
            "unit": volume.unit,
            "unit_ucum": UCUM.get(volume.unit, ""),
            "suv_factors": dict(volume.suv.factors) if volume.suv is not None else {},
            "time_point": volume.time.text if volume.time is not None else "",
            "decoder": volume.decoder,
            "stacking": volume.stacking,
            "in_patient": volume.in_patient,
            "in_mm": volume.in_mm,
            "frame_times_ms": list(volume.frame_times_ms),
            "warnings": [{"code": w.code, "text": w.text} for w in volume.warnings],
            "segments": [
                {
                    "value": s.value,
                    "name": s.name,
                    "color": list(s.color),
                    "status": s.status,
                    **terms_to_json(s),
                    "edited": s.edited,
                    "flags": [{"code": flag.code, "text": flag.text} for flag in s.flags],
                    "provenance": s.provenance.to_json(),
                }
                for s in self.segments
            ],
            "assessments": [
                {
                    "name": a.name,
                    "findings": [asdict(f.concept) | {"probability": f.probability} for f in a.findings],
                    "flags": [{"code": flag.code, "text": flag.text} for flag in a.flags],
                    "provenance": a.provenance.to_json(),
                }
                for a in self.assessments
            ],
            "runs": [run.to_json() for run in self.runs],
        }


def make_case(
    case_id: str,
    volume: Volume,
    segmentation: Segmentation,
    *,
    boxes: tuple[Box3D, ...] = (),
    runs: tuple[Provenance, ...] = (),
    assessments: tuple[Assessment, ...] = (),
    values: frozenset[int] | None = None,
) -> Case:
    """Copy what is to be exported; call it on the main thread.

    Parameters
    ----------
    case_id : str
        Patient-free name.
    volume, segmentation
        An open volume and its segmentation.
    boxes, runs, assessments
        As in `Case`.
    values : frozenset of int, optional
        Segments to export; all by default.

    Raises
    ------
    ExportError
        When the segmentation lies on another grid than the volume.
    """
    if segmentation.geometry != volume.geometry:
        raise ExportError("The segmentation lies on another grid than the image.", hint="Export it with its own image.")
    segments = tuple(s for s in segmentation.segments if values is None or s.value in values)
    needed = sorted({s.group for s in segments})
    if volume.time is not None:
        note = SeriesWarning("W_TIME_POINT", f"Exported at one point of its time axis: {volume.time.text}.")
        volume = replace(volume.at_one_time(), warnings=(*volume.warnings, note))
    groups = GroupCopies({group: segmentation.group(group).copy_labels() for group in needed})
    return Case(
        id=case_id,
        volume=volume,
        segments=segments,
        groups=groups,
        boxes=boxes,
        runs=runs,
        assessments=assessments,
    )


def cases_of(
    workspace: Workspace,
    volume_ids: Collection[str] | None = None,
    segments: Mapping[str, Collection[int]] | None = None,
) -> tuple[Case, ...]:
    """Return a case for every open volume that something was found in; named ``case_001`` and so on.

    Parameters
    ----------
    workspace : Workspace
    volume_ids : collection of str, optional
        The volumes that are wanted; all by default. The others keep their numbers.
    segments : mapping of volume id to label values, optional
        The segments that are wanted; all of a volume that is not in it.
    """
    cases: list[Case] = []
    count = 0
    for volume in workspace.volumes:
        segmentation, boxes = workspace.segmentation(volume.id), workspace.boxes(volume.id)
        assessments = workspace.assessments(volume.id)
        if not (segmentation.segments or boxes or assessments):
            continue
        count += 1
        if volume_ids is not None and volume.id not in volume_ids:
            continue
        values = frozenset(segments[volume.id]) if segments is not None and volume.id in segments else None
        name, runs = f"case_{count:03d}", workspace.runs
        cases.append(
            make_case(name, volume, segmentation, boxes=boxes, runs=runs, assessments=assessments, values=values)
        )
    return tuple(cases)
