from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.errors import InputError, TaskError
from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobCancelled, NullContext
from medviewer.phantoms import make_brain, oblique_geometry
from medviewer.phantoms.model import rotation
from medviewer.registration.quality import corner_error_mm, dice, jacobian_min
from medviewer.registration.register import Metric, Model, RegistrationSettings, register
from medviewer.registration.similarity import bin_weights, local_correlation, mutual_information

CTX = NullContext()


@pytest.fixture(scope="module")
def brain() -> Volume:
    return make_brain((80, 80, 56), seed=0).volume


def _moved(volume: Volume, matrix: Points, shift: tuple[float, float, float]) -> tuple[Volume, AffineTransform]:
    """Return the same voxels at another place, and the transform from the old place to the new one."""
    center = np.array(volume.geometry.center_lps)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = center + shift - matrix @ center
    transform = AffineTransform.from_matrix(affine)
    grid = volume.geometry
    columns = affine[:3, :3] @ grid.index_to_lps_matrix[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    geometry = Geometry(
        grid.size, vec3(spacing), vec3(transform.apply(grid.origin)), tuple((columns / spacing).ravel())
    )
    return Volume(volume.array, geometry, modality=volume.modality), transform


@pytest.mark.parametrize("metric", ["mutual information", "local correlation"])
def test_ten_degrees_and_ten_millimetres_are_found(brain: Volume, metric: Metric) -> None:
    moving, truth = _moved(brain, rotation((10.0, -6.0, 8.0)), (10.0, -5.0, 7.0))
    answer = register(CTX, brain, moving, RegistrationSettings(metric=metric, samples=30_000))
    assert corner_error_mm(answer.transform, truth, brain.geometry) < 1.0
    assert answer.after > answer.before


def test_stretching_is_found(brain: Volume) -> None:
    stretch = np.diag([1.06, 0.95, 1.03]) + 0.03 * np.eye(3, k=1)
    moving, truth = _moved(brain, rotation((5.0, 4.0, -6.0)) @ stretch, (6.0, 4.0, -5.0))
    answer = register(CTX, brain, moving, RegistrationSettings(model="affine", samples=30_000))
    assert corner_error_mm(answer.transform, truth, brain.geometry) < 1.0
    assert jacobian_min(answer.transform) == pytest.approx(np.linalg.det(stretch), rel=0.01)


def test_inverted_contrast_is_no_hindrance(brain: Volume) -> None:
    moving, truth = _moved(brain, rotation((4.0, -3.0, 5.0)), (4.0, -5.0, 3.0))
    array = np.where(moving.array > 40, moving.array.max() - moving.array, moving.array)
    answer = register(CTX, brain, Volume(array, moving.geometry, modality="MR"), RegistrationSettings(samples=30_000))
    assert corner_error_mm(answer.transform, truth, brain.geometry) < 1.5


@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_an_image_on_itself_stays(brain: Volume, model: Model) -> None:
    settings = RegistrationSettings(model=model, samples=8000, finest_mm=4.0, iterations=20)
    first, again = (register(CTX, brain, brain, settings) for _ in range(2))
    assert corner_error_mm(first.transform, AffineTransform.identity(), brain.geometry) < 0.5
    assert first == again


def test_a_flat_image_is_refused(brain: Volume) -> None:
    flat = Volume(np.zeros((8, 8, 8), np.int16), Geometry((8, 8, 8), (1.0, 1.0, 1.0)))
    with pytest.raises(InputError) as caught:
        register(CTX, brain, flat)
    assert caught.value.code == "E_FLAT"


def noise(origin: tuple[float, float, float], seed: int) -> Volume:
    array = np.random.default_rng(seed).normal(100, 20, (24, 30, 30)).astype(np.float32)
    return Volume(array, Geometry((30, 30, 24), (4.0, 4.0, 4.0), origin))


@pytest.mark.parametrize("metric", ["mutual information", "local correlation"])
def test_M12_images_that_have_nothing_in_common_are_not_aligned(metric: Metric) -> None:
    settings = RegistrationSettings(metric=metric, samples=20_000, finest_mm=8.0, iterations=10, start="geometry")
    with pytest.raises(TaskError, match=f"none was applied: the {metric}") as caught:
        register(CTX, noise((0, 0, 0), 1), noise((50, -30, 9), 2), settings)
    assert caught.value.code == "E_NO_ALIGNMENT"
    assert caught.value.hint


def test_M12_without_overlap_nothing_is_applied(brain: Volume) -> None:
    grid = brain.geometry
    away = Geometry(grid.size, grid.spacing, vec3(np.add(grid.origin, 5000.0)), grid.direction)
    settings = RegistrationSettings(samples=10_000, finest_mm=8.0, iterations=10, start="identity")
    with pytest.raises(TaskError) as caught:
        register(CTX, brain, Volume(brain.array, away), settings)
    assert caught.value.code == "E_NO_ALIGNMENT"


def test_M12_a_search_that_diverges_stays_where_it_began(brain: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    from medviewer.registration import register as module

    def broken(self: object, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return matrix.sum() * float("nan"), matrix.sum()

    monkeypatch.setattr(module._Cost, "__call__", broken)
    with pytest.raises(TaskError) as caught:
        register(CTX, brain, brain, RegistrationSettings(samples=5_000, finest_mm=8.0, iterations=5, start="identity"))
    assert caught.value.code == "E_NO_ALIGNMENT"


def test_M12_another_place_in_the_scanner_is_no_hindrance_and_the_measure_says_how_well(brain: Volume) -> None:
    moving, truth = _moved(brain, rotation((4.0, 0.0, 0.0)), (300.0, -200.0, 100.0))
    answer = register(CTX, brain, moving, RegistrationSettings(samples=20_000, finest_mm=4.0))
    assert corner_error_mm(answer.transform, truth, brain.geometry) < 2.0
    assert answer.after > answer.before


def test_it_can_be_cancelled(brain: Volume) -> None:
    class Cancelled(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            if fraction is not None and fraction > 0.3:
                raise JobCancelled

    with pytest.raises(JobCancelled):
        register(Cancelled(), brain, brain, RegistrationSettings(samples=8000))


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=50))
def test_parzen_weights_sum_to_one(values: list[float]) -> None:
    weights = bin_weights(torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(values), dtype=torch.float64))


def test_information_is_shared_by_equal_images_and_not_by_independent_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(20_000, generator=generator), torch.rand(20_000, generator=generator)
    ones = torch.ones(20_000)
    same = mutual_information(bin_weights(a), 1 - a, ones).item()
    other = mutual_information(bin_weights(a), b, ones).item()
    assert same > 1.5
    assert -1e-3 < other < 0.05


def test_local_correlation_knows_no_brightness() -> None:
    patches = torch.rand((50, 125), generator=torch.Generator().manual_seed(0))
    ones = torch.ones_like(patches)
    assert local_correlation(patches, 0.3 * patches + 0.2, ones).item() == pytest.approx(1.0, abs=5e-3)
    assert local_correlation(patches, torch.full_like(patches, 0.5), ones).item() == pytest.approx(0.0, abs=1e-3)


def test_quality_measures() -> None:
    a, b = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    assert dice(a, b) == 1.0
    a[0], b[:2] = True, True
    assert dice(a, b) == pytest.approx(2 / 3)
    assert jacobian_min(AffineTransform.from_matrix(np.diag([2.0, 1.0, 0.5, 1.0]))) == pytest.approx(1.0)


def test_the_jacobian_of_a_field_is_that_of_its_affine() -> None:
    grid = oblique_geometry((9, 8, 7))
    matrix = np.eye(3) + np.array([[0.1, 0.02, 0.0], [0.0, -0.05, 0.03], [0.04, 0.0, 0.2]])
    places = grid.index_to_lps(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))
    field = DisplacementField((places @ (matrix - np.eye(3)).T).astype(np.float32), grid)
    assert jacobian_min(field) == pytest.approx(np.linalg.det(matrix), rel=1e-4)
