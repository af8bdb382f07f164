from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.errors import InputError, PluginError
from medviewer.core.params import Choice, Doc, Range, SegmentChoice, Unit
from medviewer.plugin_host.forms import describe_params, params_from_dict, params_to_dict


@dataclass(frozen=True, slots=True)
class Example:
    upper: Annotated[float, Range(-1000, 0, 10), Unit("HU"), Doc("Highest value of air.")] = -400.0
    rounds: Annotated[int, Range(1, 9)] = 3
    fill: bool = True
    mode: Literal["fast", "exact"] = "exact"
    model: Annotated[str, Choice(("1.5 mm", "3 mm"))] = "3 mm"
    note: str = ""
    inner: list[int] = field(default_factory=list, repr=False)


def test_a_dataclass_becomes_a_form() -> None:
    upper, rounds, fill, mode, model, note = describe_params(Example)
    assert (upper.kind, upper.default, upper.minimum, upper.maximum, upper.step) == ("float", -400.0, -1000, 0, 10)
    assert (upper.unit, upper.doc, upper.title) == ("HU", "Highest value of air.", "Upper")
    assert [s.kind for s in (rounds, fill, mode, model, note)] == ["int", "bool", "choice", "choice", "text"]
    assert mode.options == ("fast", "exact")
    assert model.options == ("1.5 mm", "3 mm")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "upper": st.floats(-1000, 0),
            "rounds": st.integers(1, 9),
            "fill": st.booleans(),
            "mode": st.sampled_from(["fast", "exact"]),
            "note": st.text(),
        },
    )
)
def test_values_survive_the_way_there_and_back(values: dict[str, Any]) -> None:
    params = params_from_dict(Example, values)
    assert params_to_dict(params) == {**params_to_dict(Example()), **values}
    assert params_from_dict(Example, params_to_dict(params)) == params


@pytest.mark.parametrize(
    "values",
    [
        {"upper": 1.0},
        {"upper": float("nan")},
        {"upper": "high"},
        {"upper": True},
        {"rounds": 2.5},
        {"rounds": 10},
        {"fill": 1},
        {"mode": "slow"},
        {"model": "2 mm"},
        {"note": 3},
        {"lower": 3},
    ],
)
def test_what_does_not_fit_is_refused_by_name(values: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        params_from_dict(Example, values)
    assert caught.value.code == "E_PARAMETER"
    assert next(iter(values)) in caught.value.text


def test_whole_numbers_fit_float_fields() -> None:
    assert params_to_dict(params_from_dict(Example, {"upper": -5, "rounds": 4.0})) == {
        **params_to_dict(Example()),
        "upper": -5.0,
        "rounds": 4,
    }


@dataclass
class NoDefault:
    upper: float


@dataclass
class BadDefault:
    upper: Annotated[float, Range(0, 1)] = 2.0


@dataclass
class NoForm:
    values: list[int] = field(default_factory=list)


@dataclass
class NumberChoice:
    size: Literal[1, 2] = 1


@pytest.mark.parametrize("params", [NoDefault, BadDefault, NoForm, NumberChoice, dict])
def test_parameters_that_no_form_can_show_are_refused(params: type[Any]) -> None:
    with pytest.raises(PluginError) as caught:
        describe_params(params)
    assert caught.value.code == "E_PARAMETERS"


@dataclass
class Picked:
    other: Annotated[int, SegmentChoice(), Doc("Which")] = 0


def test_a_segment_is_chosen_by_its_label_value() -> None:
    (spec,) = describe_params(Picked)
    assert (spec.kind, spec.default, spec.doc) == ("segment", 0, "Which")
    assert spec.convert(7) == 7
    for wrong in ("7", 7.5, True):
        with pytest.raises(InputError, match=r"label value|whole number"):
            spec.convert(wrong)
