from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.export.names import safe_name, unique_names

HOSTILE = [
    "../../x", "/etc/passwd", "C:\\x", "\\\\server\\share", "CON", "con.txt", "nul", "COM1", "lpt9.nii", "a\0b",
    "x" * 5000, "\u202egnp.exe", "; rm -rf /", "a\nb", "-rf", "=cmd()", "", " ", ".", "..", "...", "~root", "$HOME",
    "%TEMP%", "a/b", "肺", "Ленинград", "é", "e\u0301", "a:b", "a*b?", "<b>", "|", '"', "'", "`id`", "x.", "x ",
    ".hidden", "a..b", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_become_plain_ones(text: str, tmp_path: Path) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= 60
    assert all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    assert name[0] not in ".-"
    assert name[-1] != "."
    assert ".." not in name
    assert name.split(".")[0].lower() not in {"con", "nul", "com1", "lpt9"}
    path = tmp_path / f"{name}.nii.gz"
    path.touch()
    assert path.resolve().parent == tmp_path.resolve()


@given(st.lists(st.text(max_size=80), max_size=20))
def test_unique_names_are_safe_and_different_in_any_case(texts: list[str]) -> None:
    names = unique_names(texts)
    assert len(names) == len(texts)
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert 0 < len(name) <= 60
        assert name[0] not in ".-"


def test_plain_names_stay_as_they_are() -> None:
    assert safe_name("left_lung") == "left_lung"
    assert safe_name("Left lung") == "Left_lung"
    assert safe_name("Nodule 23.4 mm") == "Nodule_23.4_mm"
    assert unique_names(["a", "A", "b"])[::2] == ["a", "b"]


def test_different_texts_of_other_scripts_stay_different() -> None:
    assert safe_name("肺") != safe_name("肝")
