from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.annotation import Box3D
from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.errors import OutOfMemory, WorkspaceError
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.terminology import MORPHOLOGICALLY_ALTERED_STRUCTURE, CodedConcept
from medviewer.core.tilt import STRAIGHT, turned
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Registration, Workspace
from medviewer.io import atomic
from medviewer.io.migrations import VERSION, migrate
from medviewer.io.workspace_file import (
    read_save_id,
    read_workspace,
    restore_snapshot,
    take_snapshot,
    write_workspace,
)

GRID = Geometry((6, 5, 4), (0.7, 0.8, 2.5), (1.25, -3.1, 1 / 3), (0.0, 1.0, 0.0, -0.8, 0.0, 0.6, 0.6, 0.0, 0.8))
RUN = Provenance(
    task="lungs", version="1.2", weights_sha256="ab" * 32, parameters={"upper": -400.0}, input_uids=("1.2",),
    software={"torch": "2.13"}, device="cpu", started="2026-01-02T03:04:05+00:00", seconds=1.5,
)  # fmt: skip


def _add_segments(segmentation: Segmentation, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for n in range(2):
        labels = (rng.random(GRID.shape) < 0.4).astype(np.uint16) * (n + 1)
        segmentation.put_group(segmentation.new_group(f"group {n}", labels))
    segmentation.put_segment(Segment(2, "Lunge, links „ä“", group=1, locked=True, status="done", provenance=RUN))
    lung, left = CodedConcept("39607008", "SCT", "Lung"), CodedConcept("7771000", "SCT", "Left")
    terms = {"type": MORPHOLOGICALLY_ALTERED_STRUCTURE, "type_modifier": left, "region": lung, "region_modifier": left}
    segmentation.put_segment(Segment(1, "Nodule", (1, 2, 3), opacity=0.25, **terms))
    segmentation.active = 1


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    series = SeriesRef(
        key="1.2#1", series_instance_uid="1.2", modality="CT", size=(6, 5, 4), spacing=(0.7, 0.8, 2.5),
        files=(tmp_path / "study" / "1.dcm",), warnings=(SeriesWarning("W_SPLIT", "split"),), series_number=3,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    workspace = Workspace()
    ct = Volume(rng.integers(-1000, 2000, GRID.shape).astype(np.int16), GRID, "CT", "CT", "HU", series, id="ct")
    computed = Volume(rng.random(GRID.shape).astype(np.float32), GRID, "Probability", "OT", "1", id="map")
    for volume in (ct, computed):
        workspace.add_volume(volume)
    _add_segments(workspace.segmentation("ct"), 1)
    box = Box3D(lower=(0.1, 0.2, 0.3), upper=(1, 2, 3), label="nodule", score=0.75, diameter_mm=23.0, provenance=RUN)
    workspace.set_boxes("ct", [box])
    transform = AffineTransform(tuple(np.linspace(0, 1, 16)))
    workspace.set_registrations([Registration("rigid", "ct", "map", transform, {"mutual information after": 0.7}, RUN)])
    workspace.add_run(RUN)
    workspace.activate("ct")
    workspace.view.window = WindowLevel(-600.0, 1500.0)
    workspace.view.crosshair_lps = (1.5, 2.5, -0.1)
    workspace.view.look = LabelLook("outline", 3, only_active=True, neighbors=True)
    workspace.view.inverted = True
    workspace.view.tilt = turned(STRAIGHT, (1.0, 2.0, -1.0), 0.4)
    return workspace


def _assert_same(one: Workspace, other: Workspace) -> None:
    assert one.id == other.id
    assert one.runs == other.runs
    for volume in one.volumes:
        left, right = one.segmentation(volume.id), other.segmentation(volume.id)
        assert left.segments == right.segments
        assert left.active == right.active
        assert [(g.id, g.name) for g in left.groups] == [(g.id, g.name) for g in right.groups]
        for group in left.groups:
            np.testing.assert_array_equal(group.labels, right.group(group.id).labels)
            assert right.group(group.id).labels.flags.writeable
        assert one.boxes(volume.id) == other.boxes(volume.id)
    for a, b in zip(one.registrations, other.registrations, strict=True):
        assert (a.id, a.name, a.fixed_id, a.moving_id) == (b.id, b.name, b.fixed_id, b.moving_id)
        assert (a.transform, a.measures, a.provenance) == (b.transform, b.measures, b.provenance)
    assert (one.active and one.active.id) == (other.active and other.active.id)
    for name in (
        "crosshair_lps",
        "window",
        "overlay_opacity",
        "look",
        "crosshair_visible",
        "maximised",
        "inverted",
        "tilt",
    ):
        assert getattr(one.view, name) == getattr(other.view, name)


def _reopened(workspace: Workspace, path: Path) -> Workspace:
    snapshot = read_workspace(path)
    again = Workspace()
    for ref in snapshot.volumes:
        old = workspace.volume(ref.id)
        assert ref.geometry == old.geometry
        assert ref.series == old.series
        volume = ref.computed() if ref.voxels is not None else old
        assert ref.fits(volume)
        np.testing.assert_array_equal(volume.array, old.array)
        again.add_volume(volume)
    restore_snapshot(again, snapshot)
    return again


def test_a_saved_workspace_reopens_as_it_was(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "wörk.mvw"
    snapshot = take_snapshot(workspace, {"ct": (tmp_path / "study",)})
    write_workspace(path, snapshot)
    _assert_same(workspace, _reopened(workspace, path))
    assert read_save_id(path) == snapshot.save_id
    assert read_workspace(path).volumes[0].sources == (tmp_path / "study",)
    assert os.listdir(tmp_path) == ["wörk.mvw"]


def test_a_displacement_field_is_saved(workspace: Workspace, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).random((*GRID.shape, 3)).astype(np.float32)
    field = DisplacementField(vectors, GRID)
    workspace.set_registrations([Registration("deformed", "ct", "map", field)])
    write_workspace(tmp_path / "w.mvw", take_snapshot(workspace))
    again = _reopened(workspace, tmp_path / "w.mvw").registrations[0].transform
    assert isinstance(again, DisplacementField)
    assert again.geometry == GRID
    np.testing.assert_array_equal(again.displacement_mm, vectors)


def test_a_snapshot_does_not_change_with_the_workspace(workspace: Workspace, tmp_path: Path) -> None:
    snapshot = take_snapshot(workspace)
    group = workspace.segmentation("ct").group(0)
    before = group.labels.copy()
    group.before_write(Region.whole(group.labels.shape))  # as every stroke and undo does
    group.labels[:] = 7
    workspace.set_boxes("ct", ())
    np.testing.assert_array_equal(snapshot.segmentations["ct"].groups[0].labels, before)
    assert len(snapshot.boxes["ct"]) == 1


def test_files_beside_the_workspace_move_with_it(workspace: Workspace, tmp_path: Path) -> None:
    home = tmp_path / "here"
    (home / "study").mkdir(parents=True)
    file = home / "study" / "1.dcm"
    file.touch()
    volume = workspace.volume("ct")
    assert volume.series is not None
    object.__setattr__(volume.series, "files", (file,))
    write_workspace(home / "w.mvw", take_snapshot(workspace, {"ct": (home / "study",)}))
    home.rename(tmp_path / "there")
    ref = read_workspace(tmp_path / "there" / "w.mvw").volumes[0]
    assert ref.series is not None
    assert ref.series.files == (tmp_path / "there" / "study" / "1.dcm",)
    assert ref.sources == (tmp_path / "there" / "study",)


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "E_DISK_FULL"), (errno.EROFS, "E_READ_ONLY"), (errno.EACCES, "E_READ_ONLY")]
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, call: str
) -> None:
    path = tmp_path / "w.mvw"
    write_workspace(path, take_snapshot(workspace))
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(WorkspaceError) as caught:
        write_workspace(path, take_snapshot(workspace))
    assert caught.value.code == code
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.mvw"]


def test_a_folder_that_is_gone_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError) as caught:
        write_workspace(tmp_path / "gone" / "w.mvw", take_snapshot(workspace))
    assert caught.value.code == "E_NO_FOLDER"


def test_a_file_that_reads_back_differently_is_not_kept(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = zipfile.ZipFile.read

    def flip(self: zipfile.ZipFile, name: str, pwd: bytes | None = None) -> bytes:
        data = read(self, name, pwd)
        return data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("labels/") else data

    monkeypatch.setattr(zipfile.ZipFile, "read", flip)
    with pytest.raises(WorkspaceError) as caught:
        write_workspace(tmp_path / "w.mvw", take_snapshot(workspace))
    assert caught.value.code == "E_READBACK"
    assert os.listdir(tmp_path) == []


def test_every_damaged_byte_is_refused_or_harmless(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "w.mvw"
    write_workspace(path, take_snapshot(workspace))
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(good), 150):
        data = bytearray(good)
        data[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            snapshot = read_workspace(path)
        except WorkspaceError:
            continue
        again = snapshot.segmentations["ct"].groups[0].labels
        np.testing.assert_array_equal(again, workspace.segmentation("ct").group(0).labels)
    for length in rng.integers(0, len(good), 50):
        path.write_bytes(good[:length])
        with pytest.raises(WorkspaceError):
            read_workspace(path)


def _rewrite(path: Path, change: dict[str, object]) -> None:
    """Change top-level values of a manifest."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"]) | change
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_file_of_a_newer_version_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "w.mvw"
    write_workspace(path, take_snapshot(workspace))
    _rewrite(path, {"version": VERSION + 1})
    with pytest.raises(WorkspaceError) as caught:
        read_workspace(path)
    assert caught.value.code == "E_NEWER"


def test_a_bomb_is_refused_before_memory_is_taken(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "w.mvw"
    write_workspace(path, take_snapshot(workspace))
    description = {"dtype": "<u2", "shape": [1 << 14, 1 << 14, 1 << 14], "coding": "runs", "runs": 1}
    with zipfile.ZipFile(path) as archive:
        arrays = json.loads(archive.read("manifest.json"))["arrays"]
    _rewrite(path, {"arrays": arrays | {"labels/0/0": description}})
    with pytest.raises(OutOfMemory):
        read_workspace(path)


@pytest.mark.parametrize("text", [b"", b"PK\x05\x06" + bytes(18), b"no zip at all" * 100])
def test_a_file_that_is_no_workspace_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "w.mvw"
    path.write_bytes(text)
    with pytest.raises(WorkspaceError):
        read_workspace(path)
    assert read_save_id(path) is None
    assert read_save_id(tmp_path / "absent.mvw") is None


def test_migrations_run_one_after_the_other() -> None:
    steps = {
        1: lambda m: {"version": 1, "a": m["old"]},
        2: lambda m: {"version": 2, "b": m["a"] + 1},
    }
    assert migrate({"version": 1, "old": 1}, 3, steps) == {"version": 3, "b": 2}
    assert migrate({"version": 3, "b": 5}, 3, steps) == {"version": 3, "b": 5}


@pytest.mark.parametrize("version", range(1, VERSION))
def test_old_versions_can_still_be_read(tmp_path: Path, version: int) -> None:
    """`v1.mvw.json` is a manifest as version 1 wrote it; it never changes."""
    fixture = json.loads((Path(__file__).parent / "fixtures" / f"v{version}.mvw.json").read_text(encoding="utf-8"))
    assert fixture["manifest"]["version"] == version
    path = tmp_path / "old.mvw"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(fixture["manifest"]))
        for name, data in fixture["members"].items():
            archive.writestr(name, bytes.fromhex(data))
    snapshot = read_workspace(path)
    (ref,) = snapshot.volumes
    saved = snapshot.segmentations[ref.id]
    assert ref.geometry.size == (6, 5, 4)
    assert [s.name for s in saved.segments] == ["Nodule"]
    assert int((saved.groups[0].labels == 1).sum()) == 3
    assert snapshot.boxes[ref.id][0].score == 0.75
    assert snapshot.runs[0].weights_sha256 == "ab" * 32
    assert snapshot.view.tilt is None


@pytest.mark.parametrize("tilt", [[1.0] * 9, [float("nan")] * 9, [1.0, 0.0], "no", [1, 0, 0, 0, 1, 0, 0, 0, -1]])
def test_a_tilt_that_is_no_rotation_is_refused(workspace: Workspace, tmp_path: Path, tilt: object) -> None:
    path = tmp_path / "w.mvw"
    write_workspace(path, take_snapshot(workspace))
    with zipfile.ZipFile(path) as archive:
        view = json.loads(archive.read("manifest.json"))["view"]
    _rewrite(path, {"view": view | {"tilt": tilt}})
    with pytest.raises(WorkspaceError):
        read_workspace(path)
