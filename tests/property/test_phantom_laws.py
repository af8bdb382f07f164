"""Laws of the phantoms: distances, noise, trees and test shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.phantoms import letter_f, make_thorax, oblique_geometry, spheres_volume
from medviewer.phantoms.fields import Slab, SmoothNoise, Tubes, ellipsoid, smooth_min

degrees = st.tuples(*[st.floats(-180, 180)] * 3)
SPHERES = spheres_volume()
points = st.tuples(*[st.floats(-20, 20)] * 3)


@given(degrees, st.tuples(*[st.floats(0.6, 1.6)] * 3), st.floats(8, 18))
@settings(max_examples=15, deadline=None)
def test_spheres_have_their_volume_on_any_grid(
    turn: tuple[float, float, float], spacing: tuple[float, float, float], diameter: float
) -> None:
    size = tuple(int(26 / s) + 2 for s in spacing)
    phantom = spheres_volume(oblique_geometry(size, spacing, turn), [((1.0, -2.0, 0.5), diameter)])
    grid = phantom.volume.geometry
    exact = np.pi / 6 * diameter**3
    fraction = (phantom.volume.array.astype(float) + 850) / 910
    assert fraction.sum() * grid.voxel_volume_mm3 == pytest.approx(exact, rel=0.03)
    k, j, i = np.nonzero(phantom.labels == 1)
    assert np.allclose(grid.index_to_lps((i.mean(), j.mean(), k.mean())), (1.0, -2.0, 0.5), atol=0.35)


@given(degrees)
@settings(max_examples=20, deadline=None)
def test_turning_a_phantom_moves_its_truth_with_its_voxels(turn: tuple[float, float, float]) -> None:
    phantom = SPHERES
    turned = phantom.oblique(turn)
    assert np.allclose(turned.volume.geometry.center_lps, phantom.volume.geometry.center_lps, atol=1e-5)
    for before, after in zip(phantom.nodules, turned.nodules, strict=True):
        old = phantom.volume.geometry.lps_to_index(before.lps)
        assert np.allclose(turned.volume.geometry.lps_to_index(after.lps), old, atol=1e-6)


def test_letter_f_has_no_symmetry() -> None:
    array = letter_f((20, 20, 20), (1.0, 1.0, 1.0)).volume.array
    seen = set()
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for flips in range(8):
            way = tuple(slice(None, None, -1 if flips >> n & 1 else 1) for n in range(3))
            seen.add(array.transpose(axes)[way].tobytes())
    assert len(seen) == 48


@given(points, points, st.floats(1, 5), points)
def test_tube_distance_is_that_to_the_segment(
    a: tuple[float, float, float], b: tuple[float, float, float], radius: float, p: tuple[float, float, float]
) -> None:
    tube = Tubes(np.array([a]), np.array([b]), np.array([radius]), np.array([radius]))
    slab = Slab(*(np.array([v], dtype=np.float32) for v in p))
    start, end, point = np.array(a), np.array(b), np.array(p)
    length = float((end - start) @ (end - start))
    t = np.clip((point - start) @ (end - start) / length, 0, 1) if length > 0 else 0.0
    exact = np.linalg.norm(point - start - t * (end - start)) - radius
    assert float(tube.distance(slab, 90.0)[0, 0, 0]) == pytest.approx(exact, abs=2e-3)


@given(points, st.floats(2, 9))
def test_ball_distance_is_exact(center: tuple[float, float, float], radius: float) -> None:
    axis = np.linspace(-20, 20, 5, dtype=np.float32)
    slab = Slab(axis, axis, axis)
    gx, gy, gz = slab.grid
    exact = np.sqrt((gx - center[0]) ** 2 + (gy - center[1]) ** 2 + (gz - center[2]) ** 2) - radius
    found = ellipsoid(slab, center, (radius, radius, radius))
    far = exact > 0.01 - radius
    assert np.allclose(found[far], exact[far], atol=2e-2)


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=30), st.floats(0.5, 20))
def test_smooth_minimum_lies_below_the_minimum_by_at_most_a_quarter_of_its_width(values: list[float], k: float) -> None:
    a, b = np.array(values, dtype=np.float32), np.array(values[::-1], dtype=np.float32)
    low = np.minimum(a, b)
    found = smooth_min(a, b, k)
    assert (found <= low + 1e-3).all()
    assert (found >= low - k / 4 - 1e-3).all()


@given(st.integers(0, 1000), st.integers(1, 30))
@settings(max_examples=15, deadline=None)
def test_noise_is_the_same_field_on_every_grid(seed: int, start: int) -> None:
    noise = SmoothNoise((seed,), 7.0)
    geometry = Geometry((12, 10, 40), (1.5, 2.0, 2.5), (-9.0, -10.0, -50.0))
    whole = noise(Slab.of(geometry))
    part = noise(Slab.of(geometry, start, min(start + 9, 40)))
    assert np.allclose(part, whole[start : start + 9], atol=1e-5)


def test_noise_has_unit_variance() -> None:
    field = SmoothNoise((3,), 4.0)(Slab.of(Geometry((64, 64, 64), (3.0, 3.0, 3.0))))
    assert abs(float(field.mean())) < 0.05
    assert float(field.std()) == pytest.approx(1, abs=0.06)


@given(st.integers(0, 10**6))
@settings(max_examples=3, deadline=None)
def test_every_patient_is_sound(seed: int) -> None:
    phantom = make_thorax((48, 48, 48), seed)
    ml = phantom.volume.geometry.voxel_volume_mm3 / 1000
    for name in ("lung_left", "lung_right"):
        assert 1000 < phantom.mask(name).sum() * ml < 4000
    assert set(np.unique(phantom.labels)) == {0, *phantom.names}
    lungs = phantom.mask("lung_left") | phantom.mask("lung_right") | phantom.mask("nodules")
    assert len(phantom.nodules) == 8
    assert {np.sign(n.lps[0]) for n in phantom.nodules} == {-1.0, 1.0}
    for nodule in phantom.nodules:
        kji = phantom.volume.geometry.voxel_at(nodule.lps)
        assert kji is not None
        assert lungs[kji]
