from __future__ import annotations

import numpy as np
import pytest

from medviewer.api import InputError, LabelResult, Mask, NullContext
from medviewer.phantoms import Phantom, make_thorax, spheres_volume
from mv_ct_anatomy.body import BodyParams, BodyTask
from mv_ct_anatomy.bones import BoneParams, BonesTask
from mv_ct_anatomy.lungs import LungParams, LungsTask

CTX = NullContext()


@pytest.fixture(scope="module")
def thorax() -> Phantom:
    return make_thorax((160, 160, 80), seed=2)


def _truth(phantom: Phantom, name: str) -> Mask:
    return phantom.labels == next(value for value, text in phantom.names.items() if text == name)


def _found(result: object, name: str) -> Mask:
    assert isinstance(result, LabelResult)
    return result.labels == next(segment.value for segment in result.segments if segment.name == name)


def _dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_lungs_and_airways_of_a_phantom(thorax: Phantom) -> None:
    (result,) = LungsTask().run(CTX, {"image": thorax.volume}, LungParams())
    # Slices of 4 mm: half a slice at every surface is 3 per cent of a lung, and much of the wall of the trachea.
    for found, truth, least in (
        ("Left lung", "lung_left", 0.96),
        ("Right lung", "lung_right", 0.96),
        ("Trachea", "trachea", 0.8),
    ):
        assert _dice(_found(result, found), _truth(thorax, truth)) > least, found


def test_nodules_are_closed_into_the_lungs(thorax: Phantom) -> None:
    (result,) = LungsTask().run(CTX, {"image": thorax.volume}, LungParams())
    lungs = _found(result, "Left lung") | _found(result, "Right lung")
    nodules = _truth(thorax, "nodules")
    assert (lungs & nodules).sum() / nodules.sum() > 0.9


def test_the_body_of_a_phantom(thorax: Phantom) -> None:
    (result,) = BodyTask().run(CTX, {"image": thorax.volume}, BodyParams())
    assert _dice(_found(result, "Body"), thorax.labels > 0) > 0.99


def test_bones_of_a_phantom_without_the_heart(thorax: Phantom) -> None:
    (result,) = BonesTask().run(CTX, {"image": thorax.volume}, BoneParams())
    bones = _found(result, "Bones")
    assert _dice(bones, _truth(thorax, "bones")) > 0.8
    assert (bones & _truth(thorax, "heart")).sum() < 0.02 * _truth(thorax, "heart").sum()


@pytest.mark.parametrize(("task", "params"), [(LungsTask(), LungParams()), (BonesTask(), BoneParams())])
def test_nothing_is_reported_where_nothing_is(task: LungsTask | BonesTask, params: LungParams | BoneParams) -> None:
    (result,) = task.run(CTX, {"image": spheres_volume().volume}, params)  # type: ignore[arg-type]  # pairs fit
    assert isinstance(result, LabelResult)
    assert result.segments == ()
    assert not result.labels.any()


def test_a_missing_input_is_named() -> None:
    with pytest.raises(InputError):
        BodyTask().run(CTX, {}, BodyParams())


def test_the_image_is_not_touched(thorax: Phantom) -> None:
    before = np.array(thorax.volume.array)
    BodyTask().run(CTX, {"image": thorax.volume}, BodyParams())
    np.testing.assert_array_equal(thorax.volume.array, before)
