"""The text of a licence: the model's own file first, then the usual text of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.app.licenses import license_text
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("CC-BY-NC-SA-4.0", "Creative Commons Attribution-NonCommercial-ShareAlike 4.0"),
        ("CC BY-NC-SA 4.0", "Creative Commons Attribution-NonCommercial-ShareAlike 4.0"),
        ("CC-BY 4.0", "Creative Commons Attribution 4.0"),
        ("cc_by_4.0 International", "Creative Commons Attribution 4.0"),
        ("Apache License 2.0", "Apache License"),
        ("Apache License, Version 2.0", "Apache License"),
        ("Apache-2.0", "Apache License"),
        ("MIT License", "MIT License"),
        ("BSD-3-Clause", "Copyright"),
        ("unknown", ""),
        ("../../pyproject", ""),
        ("", ""),
    ],
)
def test_names_find_their_text(tmp_path: Path, name: str, begins: str) -> None:
    text = license_text(tmp_path, name)
    assert text.startswith(begins)
    assert bool(text) == bool(begins)


def test_the_file_of_the_model_comes_first_unless_it_only_names_the_licence(tmp_path: Path) -> None:
    inner = tmp_path / "nnInteractive_v1.0"
    inner.mkdir()
    (inner / "LICENSE").write_text("MIT\n", encoding="utf-8")
    assert license_text(tmp_path, "MIT").startswith("MIT License")
    (inner / "LICENSE").write_text("My own words. " * 40, encoding="utf-8")
    assert license_text(tmp_path, "MIT").startswith("My own words.")


def test_every_shipped_model_has_a_licence_with_a_text() -> None:
    import json

    for card in (ROOT / "resources" / "models").glob("*/model.json"):
        assert license_text(card.parent, json.loads(card.read_text(encoding="utf-8"))["license"]), card.parent.name
