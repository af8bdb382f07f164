"""The saved workspace, ``.mvw``: a zip with ``manifest.json`` and one member for each label map.

Written beside the old file, read back and compared, then renamed into place. Members are read by the name the manifest
gives, into memory, never extracted; sizes are checked first.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
import psutil

from medviewer.core.contours import Contours
from medviewer.core.errors import OutOfMemory, WorkspaceError
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
from medviewer.core.version import __version__
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.workspace import Registration
from medviewer.io.array_codec import decode, encode
from medviewer.io.atomic import atomic_write
from medviewer.io.migrations import VERSION, Manifest, migrate
from medviewer.io.snapshot import (
    GroupSnapshot,
    SegmentationSnapshot,
    ViewSnapshot,
    WorkspaceSnapshot,
    restore_snapshot,
    take_snapshot,
)
from medviewer.io.volume_ref import VolumeRef
from medviewer.jobs.job import JobContext, NullContext

SUFFIX = ".mvw"
_MANIFEST = "manifest.json"
_MAX_MANIFEST = 256 << 20
_DAMAGED_HINT = "If the work was lost in a crash, start MedViewer again: it offers what the journal holds."

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
T = TypeVar("T")


def write_workspace(path: Path, snapshot: WorkspaceSnapshot, ctx: JobContext | None = None) -> None:
    """Save a workspace; the old file stays until the new one has been read back and compared.

    Raises
    ------
    WorkspaceError
        ``E_DISK_FULL``, ``E_READ_ONLY``, ``E_LOCKED``, or ``E_READBACK`` when it does not read back as it was written.
    """
    ctx = ctx or NullContext()
    manifest, arrays = _to_manifest(snapshot, path.absolute().parent)
    with atomic_write(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for n, (name, array) in enumerate(arrays.items()):
                ctx.progress(0.6 * n / len(arrays), "Saving")
                description, data = encode(array, compress=array.dtype.kind in "bu")
                manifest["arrays"][name] = description
                archive.writestr(name, data)
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1), zipfile.ZIP_DEFLATED, 1)
        ctx.progress(0.6, "Checking")
        file.flush()
        file.seek(0)
        _compare(file, manifest, arrays, ctx)
    ctx.progress(1.0, "Saved")


def _compare(file: IO[bytes], manifest: Manifest, arrays: Arrays, ctx: JobContext) -> None:
    with zipfile.ZipFile(file) as archive:
        same = json.loads(archive.read(_MANIFEST)) == json.loads(json.dumps(manifest))
        for n, (name, array) in enumerate(arrays.items()):
            ctx.progress(0.6 + 0.4 * n / len(arrays), "Checking")
            stored = decode(manifest["arrays"][name], archive.read(name))
            same = (
                same
                and stored.dtype == array.dtype
                and np.array_equal(stored, array, equal_nan=stored.dtype.kind == "f")
            )
    if not same:
        raise WorkspaceError(
            "The saved file does not read back as it was written.",
            hint="The disk may be failing. Save to another disk.",
            code="E_READBACK",
        )


def read_workspace(path: Path) -> WorkspaceSnapshot:
    """Read a saved workspace; the volumes themselves are opened by the caller.

    Raises
    ------
    WorkspaceError
        When it is no workspace, is damaged, or was saved by a newer version.
    OutOfMemory
        When its label maps do not fit into memory.
    """
    return _reading(path, lambda archive: _from_manifest(_manifest(archive), archive, path.absolute().parent))


def read_save_id(path: Path) -> str | None:
    """Return the `save_id` of a saved workspace, or None when there is none that can be read."""
    try:
        return _reading(path, lambda archive: str(_manifest(archive)["save_id"]))
    except WorkspaceError:
        return None


def _reading(path: Path, read: Callable[[zipfile.ZipFile], T]) -> T:
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except FileNotFoundError as error:
        raise WorkspaceError(f"{path.name} does not exist.", hint="It may have been moved or renamed.") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise WorkspaceError(f"{path.name} cannot be read: it is damaged.", hint=_DAMAGED_HINT) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise WorkspaceError(f"{path.name} is damaged.", hint=_DAMAGED_HINT, code="E_DAMAGED") from error


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    if archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST:
        raise ValueError("the manifest is too large")
    with archive.open(_MANIFEST) as member:
        text = member.read(_MAX_MANIFEST + 1)
    manifest = json.loads(text)
    if not isinstance(manifest, dict) or manifest.get("program") != "MedViewer":
        raise WorkspaceError("This file is no saved workspace.", hint="Choose a file with the ending .mvw.")
    return migrate(manifest)


# ---- snapshot to manifest


def _to_manifest(snapshot: WorkspaceSnapshot, folder: Path) -> tuple[Manifest, Arrays]:
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


# ---- manifest to snapshot


def _from_manifest(manifest: Manifest, archive: zipfile.ZipFile, folder: Path) -> WorkspaceSnapshot:
    _check_memory(manifest)
    volumes, segmentations, boxes, assessments = [], {}, {}, {}
    for data in manifest["volumes"]:
        volume = VolumeRef.from_json(_located(data, folder))
        if data["voxels"]:
            volume = volume.with_voxels(_array(manifest, archive, data["voxels"], volume.geometry.shape))
        volumes.append(volume)
        segmentations[volume.id] = _segmentation(manifest, archive, data, volume.geometry.shape)
        boxes[volume.id] = tuple(box_from_json(box) for box in data["boxes"])
        assessments[volume.id] = tuple(_assessment(manifest, archive, a) for a in data["assessments"])
    view = dict(manifest["view"])
    view["window"] = WindowLevel(float(view["window"]["center"]), float(view["window"]["width"]))
    view["crosshair_lps"] = vec3(view["crosshair_lps"])
    view["look"] = LabelLook(**view["look"])
    return WorkspaceSnapshot(
        id=str(manifest["workspace"]),
        save_id=str(manifest["save_id"]),
        volumes=tuple(volumes),
        segmentations=segmentations,
        boxes=boxes,
        assessments=assessments,
        registrations=tuple(_registration(manifest, archive, r) for r in manifest["registrations"]),
        runs=tuple(Provenance.from_json(run) for run in manifest["runs"]),
        view=ViewSnapshot(**view),
    )


def _segmentation(
    manifest: Manifest, archive: zipfile.ZipFile, data: Mapping[str, Any], shape: tuple[int, int, int]
) -> SegmentationSnapshot:
    groups = []
    for group in data["groups"]:
        labels: LabelArray = _array(manifest, archive, group["labels"], shape)
        if labels.dtype != np.uint16:
            raise ValueError("label maps are uint16")
        contours = _contours(manifest, archive, group.get("contours"))
        groups.append(GroupSnapshot(int(group["id"]), str(group["name"]), LabelCopy(labels, owned=True), contours))
    segments = tuple(segment_from_json(segment) for segment in data["segments"])
    known = {group.id for group in groups}
    values = {segment.value for segment in segments}
    if len(known) != len(groups) or len(values) != len(segments):
        raise ValueError("a group or a label value is there twice")
    if any(s.group not in known or not 1 <= s.value <= MAX_VALUE for s in segments):
        raise ValueError("a segment without a group or a value")
    return SegmentationSnapshot(tuple(groups), segments, int(data["active_segment"]))


def _contours(manifest: Manifest, archive: zipfile.ZipFile, name: str | None) -> Contours | None:
    if name is None:
        return None
    rows = int(manifest["arrays"][name]["shape"][0])
    return Contours(_array(manifest, archive, name, (rows, 6)))


def _assessment(manifest: Manifest, archive: zipfile.ZipFile, data: Mapping[str, Any]) -> Assessment:
    arrays: Arrays = {}
    for entry in data["maps"]:
        name = f"maps/{entry['id']}"
        arrays[name] = _array(manifest, archive, name, geometry_from_json(entry["geometry"]).shape)
    return assessment_from_json(data, arrays)


def _registration(manifest: Manifest, archive: zipfile.ZipFile, data: Mapping[str, Any]) -> Registration:
    arrays: Arrays = {}
    if "field" in data:
        shape = (*geometry_from_json(data["geometry"]).shape, 3)
        arrays[data["field"]] = _array(manifest, archive, data["field"], shape)
    return registration_from_json(data, arrays)


def _array(manifest: Manifest, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Array:
    return decode(manifest["arrays"][name], archive.read(name), shape)


def _check_memory(manifest: Manifest) -> None:
    """Refuse before anything is unpacked: a small file can declare large arrays."""
    total = 0
    for description in manifest["arrays"].values():
        nbytes = np.dtype(description["dtype"]).itemsize
        for n in description["shape"]:
            nbytes *= int(n)
        total += nbytes
    if total > 0.8 * psutil.virtual_memory().available:
        raise OutOfMemory(
            f"This workspace needs {total / 2**30:.1f} GB of memory, which is not free.",
            hint="Close other programs or studies and try again.",
        )


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


__all__ = [
    "SUFFIX",
    "WorkspaceSnapshot",
    "read_save_id",
    "read_workspace",
    "restore_snapshot",
    "take_snapshot",
    "write_workspace",
]
