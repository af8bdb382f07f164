from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.record import StepRecord
from medviewer.editing.history import UndoStack


@dataclass
class Append:
    """Adds a number to a list."""

    made: list[int]
    number: int
    nbytes: int = 1
    label: str = field(default="")

    def undo(self) -> None:
        assert self.made.pop() == self.number

    def redo(self) -> None:
        self.made.append(self.number)

    def record(self) -> StepRecord:
        return StepRecord("test")


@given(st.integers(0, 12), st.lists(st.integers(-3, 15)))
def test_any_state_can_be_gone_to_and_back(count: int, places: list[int]) -> None:
    made: list[int] = []
    history = UndoStack()
    for n in range(count):
        history.do(Append(made, n))
    for place in places:
        history.go_to(place)
        assert made == list(range(max(0, min(place, count))))
        assert len(history.done) + len(history.ahead) == count
    history.go_to(count)
    assert made == list(range(count))


def test_two_hundred_steps_are_kept_beyond_the_bound_and_giants_leave_twenty() -> None:
    made: list[int] = []
    history = UndoStack(max_bytes=100, min_steps=200)
    for n in range(300):
        history.do(Append(made, n, nbytes=2))
    assert len(history.done) == 200
    assert history.forgotten
    for n in range(300, 330):
        history.do(Append(made, n, nbytes=50))
    assert len(history.done) == 20, "four times the bound is too much even for two hundred"
    history.clear()
    assert not history.forgotten
