"""A snapshot as JSON-ready values and named arrays: what a saved workspace and a shortened journal hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.contours import Contours
from medviewer.core.finding import Assessment
from medviewer.core.geometry import vec3
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import MAX_VALUE, LabelArray, LabelCopy
from medviewer.core.serial import (
    assessment_from_json,
    assessment_to_json,
    box_from_json,
    box_to_json,
    geometry_from_json,
    registration_from_json,
    registration_to_json,
    segment_from_json,
    segment_to_json,
)
from medviewer.core.tilt import tilt_of
from medviewer.core.version import __version__
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.workspace import Registration
from medviewer.io.migrations import VERSION, Manifest
from medviewer.io.snapshot import GroupSnapshot, SegmentationSnapshot, ViewSnapshot, WorkspaceSnapshot
from medviewer.io.volume_ref import VolumeRef

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
ReadArray = Callable[[str, tuple[int, ...] | None], Array]


def to_manifest(snapshot: WorkspaceSnapshot, folder: Path) -> tuple[Manifest, Arrays]:
    """Return JSON-ready values, and the arrays they name; paths below `folder` are also kept relative to it."""
    arrays: Arrays = {}
    volumes = []
    for n, volume in enumerate(snapshot.volumes):
        data = volume.to_json() | {"voxels": None}
        data["files_relative"] = [_relative(path, folder) for path in (volume.series.files if volume.series else ())]
        data["sources_relative"] = [_relative(path, folder) for path in volume.sources]
        if volume.voxels is not None:
            data["voxels"] = f"volumes/{n}"
            arrays[data["voxels"]] = volume.voxels
        segmentation = snapshot.segmentations.get(volume.id, SegmentationSnapshot())
        data["segments"] = [segment_to_json(segment) for segment in segmentation.segments]
        data["active_segment"] = segmentation.active
        data["groups"] = []
        for group in segmentation.groups:
            member = f"labels/{n}/{group.id}"
            data["groups"].append({"id": group.id, "name": group.name, "labels": member})
            arrays[member] = group.labels
            if group.contours is not None:
                data["groups"][-1]["contours"] = f"contours/{n}/{group.id}"
                arrays[f"contours/{n}/{group.id}"] = group.contours.array
        data["boxes"] = [box_to_json(box) for box in snapshot.boxes.get(volume.id, ())]
        data["assessments"] = [assessment_to_json(a, arrays) for a in snapshot.assessments.get(volume.id, ())]
        volumes.append(data)
    manifest = {
        "program": "MedViewer",
        "version": VERSION,
        "medviewer": __version__,
        "workspace": snapshot.id,
        "save_id": snapshot.save_id,
        "volumes": volumes,
        "registrations": [registration_to_json(r, arrays) for r in snapshot.registrations],
        "runs": [run.to_json() for run in snapshot.runs],
        "view": asdict(snapshot.view),
        "arrays": {},
    }
    return manifest, arrays


def _relative(path: Path, folder: Path) -> str | None:
    """Return a path below the workspace's folder relative to it, so that both can be moved together."""
    try:
        return path.absolute().relative_to(folder).as_posix()
    except ValueError:
        return None


def from_manifest(manifest: Manifest, read: ReadArray, folder: Path) -> WorkspaceSnapshot:
    """Return the snapshot again.

    Parameters
    ----------
    manifest : dict
        Of the present version.
    read : callable
        Returns the array of a name; raises when it has not the given shape (None: any).
    folder : Path
        What relative paths are relative to.

    Raises
    ------
    KeyError, TypeError, ValueError
        When it is damaged.
    """
    volumes, segmentations, boxes, assessments = [], {}, {}, {}
    for data in manifest["volumes"]:
        volume = VolumeRef.from_json(_located(data, folder))
        if data["voxels"]:
            volume = volume.with_voxels(read(data["voxels"], volume.geometry.shape))
        volumes.append(volume)
        segmentations[volume.id] = _segmentation(read, data, volume.geometry.shape)
        boxes[volume.id] = tuple(box_from_json(box) for box in data["boxes"])
        assessments[volume.id] = tuple(_assessment(read, a) for a in data["assessments"])
    view = dict(manifest["view"])
    view["window"] = WindowLevel(float(view["window"]["center"]), float(view["window"]["width"]))
    view["crosshair_lps"] = vec3(view["crosshair_lps"])
    view["look"] = LabelLook(**view["look"])
    if view["tilt"] is not None:
        view["tilt"] = tilt_of(np.array(view["tilt"], dtype=np.float64).reshape(3, 3))
    return WorkspaceSnapshot(
        id=str(manifest["workspace"]),
        save_id=str(manifest["save_id"]),
        volumes=tuple(volumes),
        segmentations=segmentations,
        boxes=boxes,
        assessments=assessments,
        registrations=tuple(_registration(read, r) for r in manifest["registrations"]),
        runs=tuple(Provenance.from_json(run) for run in manifest["runs"]),
        view=ViewSnapshot(**view),
    )


def _segmentation(read: ReadArray, data: Mapping[str, Any], shape: tuple[int, int, int]) -> SegmentationSnapshot:
    groups = []
    for group in data["groups"]:
        labels: LabelArray = read(group["labels"], shape)
        if labels.dtype != np.uint16:
            raise ValueError("label maps are uint16")
        contours = _contours(read, group.get("contours"))
        groups.append(GroupSnapshot(int(group["id"]), str(group["name"]), LabelCopy(labels, owned=True), contours))
    segments = tuple(segment_from_json(segment) for segment in data["segments"])
    known = {group.id for group in groups}
    values = {segment.value for segment in segments}
    if len(known) != len(groups) or len(values) != len(segments):
        raise ValueError("a group or a label value is there twice")
    if any(s.group not in known or not 1 <= s.value <= MAX_VALUE for s in segments):
        raise ValueError("a segment without a group or a value")
    return SegmentationSnapshot(tuple(groups), segments, int(data["active_segment"]))


def _contours(read: ReadArray, name: str | None) -> Contours | None:
    return None if name is None else Contours(read(name, None))


def _assessment(read: ReadArray, data: Mapping[str, Any]) -> Assessment:
    arrays: Arrays = {}
    for entry in data["maps"]:
        name = f"maps/{entry['id']}"
        arrays[name] = read(name, geometry_from_json(entry["geometry"]).shape)
    return assessment_from_json(data, arrays)


def _registration(read: ReadArray, data: Mapping[str, Any]) -> Registration:
    arrays: Arrays = {}
    if "field" in data:
        shape = (*geometry_from_json(data["geometry"]).shape, 3)
        arrays[data["field"]] = read(data["field"], shape)
    return registration_from_json(data, arrays)


def _located(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a volume's entry with the files beside the workspace where they are, else where they were."""

    def found(paths: list[str], relative: list[str | None]) -> list[str]:
        beside = [None if name is None else folder / name for name in relative]
        if len(beside) != len(paths):
            raise ValueError("paths do not fit together")
        return [
            str(near) if near is not None and near.exists() else path for path, near in zip(paths, beside, strict=True)
        ]

    located = dict(data)
    located["sources"] = found(data["sources"], data["sources_relative"])
    if data["series"]:
        located["series"] = data["series"] | {"files": found(data["series"]["files"], data["files_relative"])}
    return located
