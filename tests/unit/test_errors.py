"""Every refusal tells the user what to do next."""

from __future__ import annotations

import pickle

import pytest

from medviewer.core import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MedViewerError)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_always_has_a_hint(kind: type[errors.MedViewerError]) -> None:
    assert kind("What happened.").hint
    assert (
        kind("What happened.", code="E_TRUNCATED").hint
        == "The file is cut short. Copy it again from where it came from."
    )
    assert kind("What happened.", hint="What to do.", code="E_TRUNCATED").hint == "What to do."


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_crosses_to_another_process(kind: type[errors.MedViewerError]) -> None:
    made = kind("What happened.", hint="What to do.", code="E_TEST")
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), again.text, again.hint, again.code) == (kind, "What happened.", "What to do.", "E_TEST")
    assert str(again) == "What happened. What to do."
