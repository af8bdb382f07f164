"""Sessions in the worker's table: brought from one list of prompts to another, whatever the model can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.errors import PluginError, TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.plugin_host import run_session
from medviewer.plugin_host.loader import TaskSource
from medviewer.plugin_host.manifest import read_manifest
from medviewer.plugin_host.run_session import SessionPayload, answer

PLUGIN = """
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.medviewer]
# id = "dots"
# version = "1"
# api = 1
# title = "Dots"
# [[tool.medviewer.task]]
# id = "dots"
# title = "Dots"
# kind = "interactive"
# entry = "dots:Dots"
# inputs = { image = "volume" }
# ///
from dataclasses import dataclass
import numpy as np
from medviewer.api import Readiness, Region


@dataclass(frozen=True)
class Params:
    undoes: bool = True
    answers: str = "well"


class Session:
    prompts = frozenset({"point"})

    def __init__(self, volume, params):
        self.volume, self.params, self.cells = volume, params, []

    def add(self, ctx, prompt):
        if self.params.answers == "raises":
            raise RuntimeError("no")
        if self.params.answers == "badly":
            return Region((0, 0, 0), (1, 1, 1)), np.zeros((2, 2, 2), bool)
        i, j, k = (round(v) for v in self.volume.geometry.lps_to_index(prompt.points[0]))
        self.cells.append((k, j, i, prompt.positive))
        return Region((k, j, i), (k + 1, j + 1, i + 1)), np.full((1, 1, 1), prompt.positive)

    def undo(self):
        if not self.params.undoes:
            return None
        k, j, i, _ = self.cells.pop()
        before = [c[3] for c in self.cells if c[:3] == (k, j, i)]
        return Region((k, j, i), (k + 1, j + 1, i + 1)), np.full((1, 1, 1), bool(before and before[-1]))

    def close(self):
        self.cells.clear()


class Dots:
    def check(self):
        return Readiness(ok=True)

    def open(self, ctx, volume, params: Params):
        return Session(volume, params)
"""

SHAPE = (3, 3, 3)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TaskSource:
    path = tmp_path_factory.mktemp("plugins") / "dots.py"
    path.write_text(PLUGIN)
    return TaskSource(read_manifest(path, path.parent).tasks[0], path.parent)


@pytest.fixture(autouse=True)
def empty_table() -> Iterator[None]:
    yield
    for key in list(run_session._open):
        run_session.close(NullContext(), key)


def volume() -> Volume:
    return Volume(np.zeros(SHAPE, np.float32), Geometry(SHAPE, (1, 1, 1)))


def ask(source: TaskSource, shown: list[Prompt], wanted: list[Prompt], **changes: Any) -> Any:
    values: dict[str, Any] = {"key": "a", "source": source, "shown": shown, "wanted": wanted, **changes}
    return answer(NullContext(), SessionPayload(**values))


def mask_of(prompts: list[Prompt]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for prompt in prompts:
        i, j, k = (int(v) for v in prompt.points[0])
        mask[k, j, i] = prompt.positive
    return mask


cells = st.integers(0, 2)
prompt_lists = st.lists(
    st.builds(
        lambda i, j, k, positive: Prompt(kind="point", positive=positive, points=((i, j, k),)),
        cells, cells, cells, st.booleans(),
    ),
    max_size=6,
)  # fmt: skip


@given(st.lists(prompt_lists, min_size=1, max_size=5), st.booleans())
def test_any_list_of_prompts_is_reached_from_any_other(
    source: TaskSource, lists: list[list[Prompt]], undoes: bool
) -> None:
    run_session._open.clear()
    shown: list[Prompt] = []
    for wanted in lists:
        got = ask(source, shown, wanted, volume=volume(), parameters={"undoes": undoes})
        full = mask_of(shown)
        assert np.array_equal(full[got.region.slices], got.before)
        full[got.region.slices] = got.after
        assert np.array_equal(full, mask_of(wanted)), "the box holds every change"
        assert len(got.provenance.parameters["prompts"]) == len(wanted)
        shown = wanted


def test_a_session_that_is_not_held_asks_for_the_volume_and_few_are_held(source: TaskSource) -> None:
    one = [Prompt(kind="point", positive=True, points=((1, 1, 1),))]
    assert ask(source, [], one) is None
    for key in "abcdef":
        ask(source, [], one, key=key, volume=volume())
    assert len(run_session._open) == run_session.MOST_OPEN
    assert ask(source, one, one, key="a") is None
    again = ask(source, one, one, key="a", volume=volume())
    assert again.region.is_empty


@pytest.mark.parametrize(("answers", "error"), [("badly", PluginError), ("raises", TaskError)])
def test_a_faulty_model_is_named(source: TaskSource, answers: str, error: type[Exception]) -> None:
    one = [Prompt(kind="point", positive=True, points=((1, 1, 1),))]
    with pytest.raises(error, match=r"[dD]ots"):
        ask(source, [], one, volume=volume(), parameters={"answers": answers})


def test_the_whole_mask_is_the_answer_of_a_new_session(source: TaskSource) -> None:
    prompts = [Prompt(kind="point", positive=True, points=((n, 0, 0),)) for n in range(3)]
    got = ask(source, [], prompts, volume=volume())
    assert got.region == Region((0, 0, 0), (1, 1, 3))
    assert got.after.all()
    assert not got.before.any()
