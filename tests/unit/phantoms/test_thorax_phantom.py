"""The thorax phantom: what a reader of CT expects to find, and that its truth is true."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from medviewer.phantoms import Nodule, Phantom, make_thorax
from medviewer.phantoms import thorax as thorax_module
from medviewer.phantoms.fields import Slab
from medviewer.phantoms.nodules import NoduleShape
from medviewer.phantoms.thorax import EXTENT_MM

SIZE = (112, 112, 112)


@pytest.fixture(scope="module")
def thorax() -> Phantom:
    return make_thorax(SIZE, seed=5)


def center_lps(phantom: Phantom, name: str) -> np.ndarray:
    k, j, i = (float(np.mean(v)) for v in np.nonzero(phantom.mask(name)))
    return phantom.volume.geometry.index_to_lps((i, j, k))


def test_is_a_read_only_ct_in_hu(thorax: Phantom) -> None:
    volume = thorax.volume
    assert (volume.modality, volume.unit, volume.array.dtype) == ("CT", "HU", np.int16)
    assert not volume.array.flags.writeable
    assert volume.array.min() >= -1024
    assert volume.array.max() <= 3071


def test_each_lung_has_one_to_four_litres_and_is_one_piece(thorax: Phantom) -> None:
    ml = thorax.volume.geometry.voxel_volume_mm3 / 1000
    for name in ("lung_left", "lung_right"):
        lung = thorax.mask(name)
        assert 1000 < lung.sum() * ml < 4000
        pieces, _ = ndimage.label(lung)
        assert np.bincount(pieces.ravel())[1:].max() > 0.99 * lung.sum()


def test_organs_lie_where_they_belong(thorax: Phantom) -> None:
    left, right = center_lps(thorax, "lung_left"), center_lps(thorax, "lung_right")
    bones, heart, trachea = (center_lps(thorax, n) for n in ("bones", "heart", "trachea"))
    assert left[0] > 40
    assert right[0] < -40
    assert heart[0] > 5  # the heart lies to the left
    assert heart[1] < bones[1]  # and in front of the spine
    assert trachea[2] > heart[2] + 40
    assert abs(trachea[0]) < 15


def test_the_spine_is_at_the_back_and_the_liver_at_the_right(thorax: Phantom) -> None:
    geometry, hu = thorax.volume.geometry, thorax.volume.array
    _, y, x = (np.asarray(v) for v in np.nonzero(thorax.mask("bones")[64:66]))
    middle = np.abs(x - (SIZE[0] - 1) / 2) < 5
    assert np.percentile(y[middle], 60) > 0.6 * SIZE[1]
    liver = geometry.voxel_at((-70.0, -10.0, -90.0))
    assert liver is not None
    around = tuple(slice(n - 2, n + 3) for n in liver)
    assert 85 < hu[around].mean() < 130
    bubble = (hu < -700) & (thorax.labels == 1)
    bubble[int(0.35 * SIZE[2]) :] = False
    k, j, i = (float(np.mean(v)) for v in np.nonzero(bubble))
    x, y, _ = geometry.index_to_lps((i, j, k))
    assert bubble.sum() > 100
    assert x > 30
    assert y < 0


def test_tissues_have_their_density(thorax: Phantom) -> None:
    hu = thorax.volume.array
    inner = ndimage.binary_erosion(thorax.mask("lung_left") | thorax.mask("lung_right"), iterations=2)
    assert -900 < np.median(hu[inner]) < -800
    assert np.median(hu[ndimage.binary_erosion(thorax.mask("trachea"))]) < -950
    assert np.median(hu[thorax.mask("bones")]) > 200
    assert 90 < np.median(hu[thorax.mask("heart")]) < 230
    assert np.median(hu[:, :8, :8]) < -980


def test_lungs_are_denser_at_the_back(thorax: Phantom) -> None:
    hu, lung = thorax.volume.array, ndimage.binary_erosion(thorax.mask("lung_right"), iterations=2)
    rows = np.broadcast_to(np.arange(SIZE[1])[None, :, None], hu.shape)
    front, back = np.percentile(rows[lung], (20, 80))
    assert np.median(hu[lung & (rows > back)]) > np.median(hu[lung & (rows < front)]) + 15


def test_nodules_have_their_size_and_lie_in_lung(thorax: Phantom) -> None:
    volume = thorax.volume
    mask, hu = thorax.mask("nodules"), volume.array
    lungs = thorax.mask("lung_left") | thorax.mask("lung_right")
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    assert count == len(thorax.nodules) >= 6
    assert {"solid", "ground-glass", "pleural", "vascular"} == {n.kind for n in thorax.nodules}
    for nodule in thorax.nodules:
        assert 5 <= nodule.diameter_mm <= 25
        kji = volume.geometry.voxel_at(nodule.lps)
        assert kji is not None
        assert mask[kji]
        piece = pieces == pieces[kji]
        measured = (6 / np.pi * piece.sum() * volume.geometry.voxel_volume_mm3) ** (1 / 3)
        assert measured == pytest.approx(nodule.diameter_mm, rel=0.03 if nodule.diameter_mm > 15 else 0.2)
        shell = ndimage.binary_dilation(piece, iterations=2) & ~piece
        assert lungs[shell].mean() > (0.55 if nodule.kind == "pleural" else 0.97)
        if nodule.diameter_mm > 8:
            expected = (-680, -540) if nodule.kind == "ground-glass" else (30, 95)
            core = ndimage.binary_erosion(piece, iterations=1)
            assert expected[0] < np.median(hu[core]) < expected[1]


@pytest.mark.parametrize("diameter", [5.5, 12.0, 23.0])
def test_a_nodule_has_exactly_the_volume_of_its_sphere(diameter: float) -> None:
    shape = NoduleShape(Nodule("N1", (3.0, -4.0, 5.0), diameter, "solid"), seed=9)
    step = diameter / 60
    axes = [np.arange(c - shape.reach, c + shape.reach, step, dtype=np.float32) for c in shape.nodule.lps]
    slab = Slab(*axes)
    volume = float((shape.distance(slab) < 0).sum()) * step**3
    assert volume == pytest.approx(np.pi / 6 * diameter**3, rel=0.01)


def test_progress_rises_to_one_and_may_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thorax_module, "_SLAB_VOXELS", 32 * 32 * 8)
    seen: list[float] = []
    make_thorax((32, 32, 32), 0, lambda fraction, _text: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 1
    assert len(seen) == 6

    class Stopped(Exception):
        pass

    def stop(fraction: float, _text: str) -> None:
        if fraction > 0:
            raise Stopped

    with pytest.raises(Stopped):
        make_thorax((32, 32, 32), 0, stop)


@pytest.mark.parametrize(("size", "seed"), [((8, 64, 64), 0), ((64, 64, 64), -1)])
def test_refuses_what_it_cannot_make(size: tuple[int, int, int], seed: int) -> None:
    with pytest.raises(ValueError, match="size must be"):
        make_thorax(size, seed)


def test_same_seed_gives_the_same_voxels_and_another_seed_another_patient() -> None:
    first, again, other = (make_thorax((48, 40, 36), seed) for seed in (7, 7, 8))
    digest = [hashlib.sha256(p.volume.array.tobytes() + p.labels.tobytes()).hexdigest() for p in (first, again, other)]
    assert digest[0] == digest[1] != digest[2]
    assert first.nodules == again.nodules != other.nodules


def test_field_of_view_and_anatomy_do_not_depend_on_the_matrix(thorax: Phantom) -> None:
    coarse = make_thorax((60, 72, 50), seed=5)
    for phantom in (thorax, coarse):
        geometry = phantom.volume.geometry
        assert np.multiply(geometry.size, geometry.spacing) == pytest.approx(EXTENT_MM)
        assert geometry.center_lps == pytest.approx((0, 0, 0), abs=1e-9)
    assert coarse.nodules == thorax.nodules
    for name in ("lung_left", "lung_right", "heart", "bones"):
        fine, rough = (
            float(p.mask(name).sum()) * p.volume.geometry.voxel_volume_mm3 for p in (thorax, coarse)
        )  # fmt: skip
        assert rough == pytest.approx(fine, rel=0.04)
