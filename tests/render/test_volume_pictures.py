"""Surfaces, volume rendering and picking in 3D."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkFiltersCore import vtkMassProperties
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow

from medviewer.core.annotation import Box3D
from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.render.offscreen import volume_picture
from medviewer.render.picking import clip_ray, display_of, first_hit, view_ray
from medviewer.render.presets import PRESETS, preset, preset_for
from medviewer.render.surface_scene import SurfaceScene, SurfaceTask, extract_surface, find_region
from medviewer.render.volume_scene import VolumeScene
from medviewer.render.vtk_image import share_array, thinning, touch, vtk_image
from tests.render_phantoms import SIGNED_AXES, f_volume, grid_around_zero, show, signed_direction

GRIDS = {
    "straight": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "mirrored": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "turned": (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0),
    "tilted": (1.0, 0.0, 0.0, 0.0, 1.0, 0.3, 0.0, 0.0, 0.954),
}


def ball(direction: tuple[float, ...], radius: float = 20.0) -> tuple[np.ndarray, Geometry]:
    """A ball about the LPS origin on an anisotropic grid."""
    matrix = np.array(direction).reshape(3, 3)
    size, spacing = (60, 50, 40), (1.0, 1.2, 1.5)
    origin = -matrix @ (np.array(spacing) * (np.array(size) - 1) / 2)
    geometry = Geometry(size, spacing, tuple(origin.tolist()), direction)
    i, j, k = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    lps = geometry.index_to_lps(np.stack([i, j, k], axis=-1).transpose(2, 1, 0, 3))
    return np.where(np.linalg.norm(lps, axis=-1) < radius, 7, 0).astype(np.uint16), geometry


def points_of(surface: vtkPolyData) -> np.ndarray:
    return vtk_to_numpy(surface.GetPoints().GetData())


@pytest.mark.parametrize("name", GRIDS)
def test_a_surface_lies_in_the_patient(name: str) -> None:
    labels, geometry = ball(GRIDS[name])
    surface = extract_surface(labels, geometry, 7)
    distance = np.linalg.norm(points_of(surface), axis=1)
    assert abs(distance.mean() - 20) < 0.4
    assert np.abs(distance - 20).max() < 1.6  # one voxel
    measured = vtkMassProperties()
    measured.SetInputData(surface)
    assert measured.GetVolume() == pytest.approx((labels == 7).sum() * geometry.voxel_volume_mm3, rel=0.05)


@pytest.mark.parametrize("name", GRIDS)
def test_normals_point_outwards(name: str) -> None:
    labels, geometry = ball(GRIDS[name])
    surface = extract_surface(labels, geometry, 7)
    normals = vtk_to_numpy(surface.GetPointData().GetNormals())
    assert ((normals * points_of(surface)).sum(axis=1) > 0).mean() > 0.99


def test_a_label_at_the_border_is_closed_there() -> None:
    geometry = Geometry((8, 8, 8), (1.0, 1.0, 1.0))
    surface = extract_surface(np.full((8, 8, 8), 1, np.uint8), geometry, 1)
    low, high = points_of(surface).min(axis=0), points_of(surface).max(axis=0)
    assert np.allclose(low, -0.5, atol=0.3)
    assert np.allclose(high, 7.5, atol=0.3)


def test_an_absent_label_has_no_surface() -> None:
    labels, geometry = ball(GRIDS["straight"])
    assert extract_surface(labels, geometry, 3).GetNumberOfPoints() == 0
    with pytest.raises(ValueError, match="do not fit"):
        extract_surface(labels[1:], geometry, 7)


def test_surfaces_from_many_threads_are_the_same() -> None:
    labels, geometry = ball(GRIDS["turned"])
    wanted = points_of(extract_surface(labels, geometry, 7)).copy()
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(points_of(extract_surface(labels, geometry, 7)).copy()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(points, wanted) for points in found)


@given(st.tuples(*[st.integers(1, 300)] * 3), st.tuples(*[st.floats(0.3, 8)] * 3), st.integers(1, 100_000))
def test_thinning_leaves_at_most_that_many(shape: tuple, spacing: tuple, most: int) -> None:
    steps = thinning(shape, spacing, most)
    assert np.prod([-(-n // s) for n, s in zip(shape, steps, strict=True)]) <= most
    assert all(s <= n for n, s in zip(shape, steps, strict=True))
    if np.prod(shape) <= most:
        assert steps == (1, 1, 1)


def test_a_thinned_surface_stays_in_its_place() -> None:
    labels, geometry = ball(GRIDS["tilted"])
    result = SurfaceTask(7, labels, geometry, None, most=4000).run()
    assert result.region == find_region(labels, 7)
    assert abs(np.linalg.norm(points_of(result.surface), axis=1).mean() - 20) < 2


@given(st.tuples(*[st.tuples(st.integers(0, 39), st.integers(1, 12))] * 3))
def test_find_region(box: tuple) -> None:
    labels = np.zeros((40, 41, 42), np.uint16)
    lower, upper = tuple(low for low, _ in box), tuple(min(40, low + n) for low, n in box)
    region = Region(lower, upper)
    labels[region.slices] = 9
    assert find_region(labels, 9) == region
    assert find_region(labels, 8) is None
    assert find_region(labels, 9, region.grown(2).clip(Region.whole(labels.shape))) == region


def segmented(letter: Volume) -> tuple[Workspace, Segmentation]:
    workspace = show(letter)
    segmentation = workspace.segmentation(letter.id)
    group = segmentation.new_group("auto")
    group.labels[letter.array > 500] = 4
    segmentation.put_group(group)
    segmentation.put_segment(Segment(4, "F", (230, 75, 53)))
    segmentation.put_segment(Segment(5, "empty", (77, 187, 213)))
    return workspace, segmentation


def drain(scene: SurfaceScene) -> list[int]:
    done: list[int] = []
    while (task := scene.next_task()) is not None:
        scene.apply(task.run())
        done.append(task.value)
    return done


def test_only_what_changed_is_made_again(letter: Volume) -> None:
    _, segmentation = segmented(letter)
    scene = SurfaceScene(vtkRenderer(), segmentation, LabelLook)
    assert drain(scene) == [4, 5]
    assert drain(scene) == []
    labels = segmentation.group(0).labels
    corner = Region((0, 0, 0), (2, 3, 4))
    labels[corner.slices] = 5
    scene.labels_changed(corner, 0)
    assert drain(scene) == [5]
    inside = find_region(labels, 4)
    assert inside is not None
    labels[inside.slices] = 0  # erased: it is not present any more, but it was
    scene.labels_changed(inside, 0)
    assert drain(scene) == [4]
    segmentation.take_segment(5)
    scene.segments_changed()
    assert drain(scene) == []
    scene.close()


def test_what_is_edited_is_made_first_and_what_is_not_shown_is_not(letter: Volume) -> None:
    _, segmentation = segmented(letter)
    segmentation.active = 5
    scene = SurfaceScene(vtkRenderer(), segmentation, LabelLook)
    assert drain(scene) == [5, 4]
    scene.close()
    alone = SurfaceScene(vtkRenderer(), segmentation, lambda: LabelLook(only_active=True))
    assert drain(alone) == [5]
    segmentation.active = 4
    assert drain(alone) == [4]
    alone.close()


def test_many_segments_are_found_in_one_look(letter: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    segmentation = Segmentation(letter.geometry)
    group = segmentation.new_group()
    segmentation.put_group(group)
    for value in range(1, 31):
        group.labels[value : value + 1, 5:9, 5:9] = value if value != 30 else 0
        segmentation.put_segment(Segment(value, f"s{value}"))
    areas: list[Region | None] = []

    def look(labels: np.ndarray, value: int, within: Region | None = None) -> Region | None:
        areas.append(within)
        return find_region(labels, value, within)

    monkeypatch.setattr("medviewer.render.surface_scene.find_region", look)
    scene = SurfaceScene(vtkRenderer(), segmentation, LabelLook)
    first = scene.next_task()
    assert first is not None
    found = first.run()
    # Drawn after the look, before anybody knows of it.
    box = Region((22, 20, 20), (24, 24, 24))
    group.labels[box.slices] = 2
    scene.labels_changed(box, 0)
    scene.apply(found)
    tasks, results = [], []
    while (task := scene.next_task()) is not None:
        tasks.append(task)
        results.append(task.run())
        scene.apply(results[-1])
    assert [task.value for task in tasks] == list(range(2, 31))
    assert None not in areas, "none is looked for everywhere"
    for result in results:
        assert result.region == find_region(group.labels, result.task.value)
    scene.close()


def test_what_is_nowhere_needs_no_surface(letter: Volume) -> None:
    segmentation = Segmentation(letter.geometry)
    group = segmentation.new_group()
    segmentation.put_group(group)
    group.labels[3:5, 5:9, 5:9] = 7
    for value in range(1, 31):
        segmentation.put_segment(Segment(value, f"s{value}"))
    scene = SurfaceScene(vtkRenderer(), segmentation, LabelLook)
    assert drain(scene) == [1, 7]
    group.labels[10:12, 5:9, 5:9] = 9
    scene.labels_changed(Region((10, 5, 5), (12, 9, 9)), 0)
    assert drain(scene) == [9]
    scene.close()


def test_among_many_segments_only_what_changed_is_made_again(letter: Volume) -> None:
    segmentation = Segmentation(letter.geometry)
    group = segmentation.new_group()
    segmentation.put_group(group)
    for value in range(1, 31):
        group.labels[value : value + 1, 5:9, 5:9] = value
        segmentation.put_segment(Segment(value, f"s{value}"))
    scene = SurfaceScene(vtkRenderer(), segmentation, LabelLook)
    assert drain(scene) == list(range(1, 31))
    box = Region((20, 20, 20), (24, 24, 24))
    group.labels[box.slices] = 7
    group.labels[20, 20, 20] = 9
    scene.labels_changed(box, 0)
    assert drain(scene) == [7, 9]
    lost = Region((12, 0, 0), (13, 20, 20))
    group.labels[lost.slices] = 0
    scene.labels_changed(lost, 0)
    assert drain(scene) == [7, 9, 12]  # 7 and 9 reach over it since
    scene.close()


def test_a_change_too_big_to_look_at_concerns_all_of_its_group(letter: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medviewer.render.surface_scene._LOOK_VOXELS", 0)
    _, segmentation = segmented(letter)
    scene = SurfaceScene(vtkRenderer(), segmentation, LabelLook)
    assert drain(scene) == [4, 5]
    corner = Region((0, 0, 0), (2, 3, 4))
    segmentation.group(0).labels[corner.slices] = 5
    scene.labels_changed(corner, 0)
    assert drain(scene) == [4, 5]
    scene.close()


def test_one_sees_through_what_holds_another(letter: Volume) -> None:
    _, segmentation = segmented(letter)
    labels = segmentation.group(0).labels
    renderer = vtkRenderer()
    scene = SurfaceScene(renderer, segmentation, LabelLook)

    def opacity() -> list[float]:
        drain(scene)
        return [actor.GetProperty().GetOpacity() for actor in renderer.GetActors()]

    inner, whole = Region((24, 24, 24), (28, 28, 28)), Region.whole(labels.shape)
    labels[inner.slices] = 5
    scene.labels_changed(inner, 0)
    assert opacity() == [1.0, 1.0]  # the letter is thin: it hides nothing
    labels[(letter.array > 0) & (labels == 0)] = 4
    scene.labels_changed(whole, 0)
    assert opacity() == [0.25, 1.0]
    segmentation.put_segment(replace(segmentation.segment(5), visible=False))
    scene.segments_changed()
    assert opacity() == [1.0, 1.0]
    scene.close()


def test_a_late_surface_is_dropped(letter: Volume) -> None:
    _, segmentation = segmented(letter)
    renderer = vtkRenderer()
    scene = SurfaceScene(renderer, segmentation, LabelLook)
    task = scene.next_task()
    assert task is not None
    assert scene.next_task() is None  # one at a time
    scene.close()
    scene.apply(task.run())
    assert renderer.GetActors().GetNumberOfItems() == 0


def test_an_image_shares_its_array() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = Volume(array, Geometry((4, 3, 2), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), GRIDS["turned"]))
    image = vtk_image(volume)
    assert image.GetDimensions() == (4, 3, 2)
    assert image.GetSpacing() == (1.0, 2.0, 3.0)
    lps = [0.0, 0.0, 0.0]
    image.TransformContinuousIndexToPhysicalPoint(3, 2, 1, lps)
    assert np.allclose(lps, volume.geometry.index_to_lps((3, 2, 1)))
    before = image.GetMTime()
    array[1, 2, 3] = -77
    touch(image)
    assert image.GetScalarComponentAsDouble(3, 2, 1, 0) == -77
    assert image.GetMTime() > before
    assert np.shares_memory(vtk_to_numpy(image.GetPointData().GetScalars()), array)
    with pytest.raises(ValueError, match="does not fit"):
        share_array(array, Geometry((4, 3, 3), (1.0, 1.0, 1.0)))


def test_an_image_keeps_its_array_alive() -> None:
    image = share_array(np.full((50, 60, 70), 1234, dtype=np.int32))
    np.full((50, 60, 70), 99, dtype=np.int32)  # what would take the freed memory
    assert image.GetScalarComponentAsDouble(69, 59, 49, 0) == 1234


@pytest.fixture
def scene_in_window(letter: Volume) -> Iterator[tuple[VolumeScene, vtkRenderWindow]]:
    workspace, _ = segmented(letter)
    scene = VolumeScene(workspace, lambda: None, lambda: None, lambda: None)
    window = vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(240, 200)
    scene.choose(None)
    scene.attach(window)
    window.Render()
    yield scene, window
    scene.close()
    window.Finalize()


def test_a_point_is_picked_where_it_is_seen(scene_in_window: tuple[VolumeScene, vtkRenderWindow]) -> None:
    scene, _ = scene_in_window
    for lps in ((-20.0, -6.0, 0.0), (10.0, -6.0, 25.0)):  # on the front of the letter
        x, y = display_of(scene.renderer, lps, 200)
        picked = scene.pick(x, 200 - y)
        assert picked is not None
        assert np.abs(np.array(picked) - lps).max() < 2.5
    assert scene.pick(1.0, 199.0) is None


def test_a_ray_goes_through_what_it_was_made_from(scene_in_window: tuple[VolumeScene, vtkRenderWindow]) -> None:
    scene, _ = scene_in_window
    for lps in ((0.0, 0.0, 0.0), (30.0, -20.0, 10.0)):
        x, y = display_of(scene.renderer, lps, 200)
        start, end = (np.array(p) for p in view_ray(scene.renderer, x, 200 - y))
        along = (end - start) / np.linalg.norm(end - start)
        offset = np.array(lps) - start
        assert np.linalg.norm(offset - (offset @ along) * along) < 1e-2


def test_the_front_is_anterior_and_the_head_is_up(scene_in_window: tuple[VolumeScene, vtkRenderWindow]) -> None:
    scene, _ = scene_in_window
    middle = np.array(display_of(scene.renderer, (0.0, 0.0, 0.0), 200))
    left = np.array(display_of(scene.renderer, (30.0, 0.0, 0.0), 200))
    head = np.array(display_of(scene.renderer, (0.0, 0.0, 30.0), 200))
    assert left[0] > middle[0] + 20  # patient left is on the right of the picture
    assert head[1] < middle[1] - 20
    assert scene.renderer.GetActiveCamera().GetDirectionOfProjection()[1] > 0.99


def test_first_hit_on_labels_and_volume(letter: Volume) -> None:
    workspace, segmentation = segmented(letter)
    start, end = (-20.0, -200.0, 0.0), (-20.0, 200.0, 0.0)
    hit = first_hit(start, end, segmentation)
    assert hit is not None
    assert abs(hit[1] + 6) < 2.1
    segmentation.put_segment(replace(segmentation.segment(4), visible=False))
    assert first_hit(start, end, segmentation) is None
    look = (preset("CT-Bone"), workspace.view.window)
    bone = first_hit(start, end, segmentation, letter, look)
    assert bone is not None
    assert -7 < bone[1] < 6
    brightest = first_hit(start, end, None, letter, (preset("MIP"), WindowLevel(50, 1900)))
    assert brightest is not None
    assert letter.array[letter.geometry.voxel_at(brightest)] == 1000
    assert first_hit((0, 0, 500), (10, 0, 500), segmentation) is None
    assert first_hit(start, end) is None


def test_clip_ray_misses_and_grazes() -> None:
    geometry = Geometry((10, 10, 10), (1.0, 1.0, 1.0))
    assert clip_ray(geometry, (-5.0, 20.0, 5.0), (20.0, 20.0, 5.0)) is None
    clipped = clip_ray(geometry, (-5.0, 5.0, 5.0), (20.0, 5.0, 5.0))
    assert clipped is not None
    assert np.allclose(clipped[0], (-0.499, 5, 5))
    assert np.allclose(clipped[1], (9.499, 5, 5))


def test_presets() -> None:
    for known in PRESETS:
        stops = known.at(WindowLevel(100, 50))
        assert [s.value for s in stops] == sorted(s.value for s in stops)
        assert (known.opacity_of(np.linspace(-2000, 4000, 50), WindowLevel(100, 50)) <= 1).all()
    assert preset_for("CT").name == "CT-Bone"
    assert preset_for("MR").name == "MR"
    assert preset_for("PT").name == "MIP"
    with pytest.raises(KeyError):
        preset("no such look")


@pytest.mark.parametrize(("axes", "signs"), SIGNED_AXES[::7])
def test_volume_rendering_is_where_the_patient_is(
    letter: Volume, axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    stored = show(f_volume(grid_around_zero(signed_direction(axes, signs))))
    picture = volume_picture(stored, (120, 120), preset="CT-Bone").astype(int)
    wanted = volume_picture(show(letter), (120, 120), preset="CT-Bone").astype(int)
    assert (wanted.max(axis=-1) > 120).sum() > 500
    assert np.abs(picture - wanted).mean() < 1.5


def test_golden_volume(letter: Volume, matches_baseline: Callable[..., None]) -> None:
    matches_baseline(volume_picture(show(letter), preset="CT-Bone"), "volume_ct_bone", mean=2.5, share=0.02)


def test_golden_surface_and_findings(letter: Volume, matches_baseline: Callable[..., None]) -> None:
    workspace, _ = segmented(letter)
    box = Box3D(lower=(14.0, -10.0, -30.0), upper=(30.0, 6.0, -14.0), diameter_mm=16.0, label="Nodule")
    workspace.set_boxes(letter.id, (box, replace(box, id="x", review="rejected", lower=(-40.0, -40.0, -40.0))))
    matches_baseline(volume_picture(workspace), "surface_and_finding", mean=2.5, share=0.02)


def test_a_closed_volume_scene_hears_nothing(letter: Volume) -> None:
    workspace, segmentation = segmented(letter)
    signals = [workspace.active_changed, workspace.volume_updated, workspace.boxes_changed]
    signals += [segmentation.labels_changed, segmentation.segments_changed, workspace.view.window_changed]
    before = [len(signal) for signal in signals]
    scene = VolumeScene(workspace, lambda: None, lambda: None, lambda: None)
    assert [len(signal) for signal in signals] != before
    scene.close()
    assert [len(signal) for signal in signals] == before


@pytest.mark.parametrize("software", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_not_rendered_as_a_volume(letter: Volume, axis: int, software: bool) -> None:
    size = tuple(1 if n == 2 - axis else count for n, count in enumerate(letter.geometry.size))
    thin = replace(letter, array=letter.array.take([0], axis=axis), geometry=replace(letter.geometry, size=size))
    workspace = Workspace()
    workspace.add_volume(thin)
    workspace.activate(thin.id)
    scene = VolumeScene(workspace, lambda: None, lambda: None, lambda: None, software=software)
    scene.choose(PRESETS[0])
    scene.update()
    assert scene.renderer.GetVolumes().GetNumberOfItems() == 0
    scene.close()
