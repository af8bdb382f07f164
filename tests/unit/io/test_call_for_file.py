"""A worker that dies of a file is a refusal that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.core.errors import InputError, OutOfMemory, WorkerDied
from medviewer.io.decode_worker import call_for_file
from medviewer.jobs.job import NullContext


class Dying:
    """A worker that dies at every call."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def call(self, *_: object, **__: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("died", "code"), [("E_WORKER_DIED", "E_DECODER_CRASHED"), ("E_TIMEOUT", "E_TIMEOUT"), ("E_OOM", "E_OOM")]
)
def test_a_death_is_told_as_what_it_was(died, code):
    worker = Dying(WorkerDied("The worker ended.", code=died))
    with pytest.raises((InputError, WorkerDied)) as refusal:
        call_for_file(worker, "module:function", None, NullContext(), Path("a.nii"))
    assert refusal.value.code == code
    assert ("a.nii" in refusal.value.text) == (died != "E_OOM")


def test_what_the_worker_refuses_itself_is_passed_on():
    with pytest.raises(OutOfMemory):
        call_for_file(Dying(OutOfMemory("Full.")), "module:function", None, NullContext(), Path("a.nii"))
