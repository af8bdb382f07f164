from __future__ import annotations

import numpy as np
import pytest

from medviewer.ai.body import find_body
from medviewer.ai.coarse_ct import CoarseCt
from medviewer.ai.lungs import find_lungs
from medviewer.ai.pleura import convex_hull
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.phantoms import Phantom, make_thorax, spheres_volume

CTX = NullContext()


@pytest.fixture(scope="module")
def thorax() -> Phantom:
    return make_thorax((128, 128, 64), seed=1)


def _named(phantom: Phantom, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return phantom.labels == next(value for value, text in phantom.names.items() if text == name)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _flipped(volume: Volume) -> Volume:
    """Return the same patient in an array that runs from head to feet, right to left, i and k swapped."""
    grid = volume.geometry
    i, j, k = grid.size
    matrix = grid.direction_matrix[:, ::-1] * np.array([-1.0, 1.0, -1.0])
    geometry = Geometry(
        (k, j, i), grid.spacing[::-1], vec3(grid.index_to_lps((i - 1, 0, k - 1))), tuple(matrix.ravel())
    )
    return Volume(np.ascontiguousarray(volume.array[::-1, :, ::-1].transpose(2, 1, 0)), geometry, modality="CT")


def test_lungs_are_found_and_told_apart(thorax: Phantom) -> None:
    ct = CoarseCt.of(thorax.volume, 1.5)
    lungs = find_lungs(CTX, ct)
    back = ct.grid.turn_back
    assert _dice(back(ct.fine(lungs.left)), _named(thorax, "lung_left")) > 0.95
    assert _dice(back(ct.fine(lungs.right)), _named(thorax, "lung_right")) > 0.95
    assert not (lungs.left & lungs.right).any()
    assert not (lungs.both & lungs.trachea).any()
    assert not (lungs.both & ~find_body(CTX, ct)).any()


def test_left_and_right_come_from_the_geometry(thorax: Phantom) -> None:
    flipped = _flipped(thorax.volume)
    ct = CoarseCt.of(flipped, 1.5)
    lungs = find_lungs(CTX, ct)
    left = ct.grid.turn_back(ct.fine(lungs.left)).transpose(2, 1, 0)[::-1, :, ::-1]
    assert _dice(left, _named(thorax, "lung_left")) > 0.95


def test_there_are_no_lungs_where_there_are_none() -> None:
    abdomen = make_thorax((128, 128, 64), seed=1)
    ct = CoarseCt.of(abdomen.volume, 2.0)
    solid = CoarseCt(np.where(ct.hu > -350, ct.hu, ct.hu.clip(max=-1000)), ct.spacing, ct.grid, ct.factors)
    assert not find_lungs(CTX, solid).found
    assert not find_lungs(CTX, CoarseCt.of(spheres_volume().volume, 1.5)).found


def test_the_body_has_no_table_and_no_holes(thorax: Phantom) -> None:
    ct = CoarseCt.of(thorax.volume, 2.5)
    body = ct.grid.turn_back(ct.fine(find_body(CTX, ct)))
    assert _dice(body, thorax.labels > 0) > 0.97


def test_an_empty_image_has_no_body() -> None:
    air = Volume(np.full((20, 40, 40), -1000, np.int16), Geometry((40, 40, 20), (3.0, 3.0, 3.0)), modality="CT")
    assert not find_body(CTX, CoarseCt.of(air, 3.0)).any()


def test_a_surface_snaps_to_the_fine_edge() -> None:
    array = np.full((8, 40, 40), -1000, np.int16)
    array[:, 9:31, 9:31] = 40
    volume = Volume(array, Geometry((40, 40, 8), (1.0, 1.0, 1.0)), modality="CT")
    ct = CoarseCt.of(volume, 2.0)
    snapped = ct.snapped(CTX, ct.hu > -300, volume.array > -300)
    np.testing.assert_array_equal(snapped, array > 0)


def test_the_hull_of_two_pieces_spans_them() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1] = mask[1:8, 7] = True
    hull = convex_hull(mask)
    assert hull[1:8, 1:8].all()
    assert hull.sum() == 49
    line = np.zeros((9, 9), bool)
    line[2:7, 3] = True
    np.testing.assert_array_equal(convex_hull(line), line)
