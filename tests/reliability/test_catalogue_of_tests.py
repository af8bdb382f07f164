"""Every line of the catalogue of bad inputs that this program can meet has a test that carries its id."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT


def ids(letter: str, last: int, *without: int) -> set[str]:
    return {f"{letter}{n:02d}" for n in range(1, last + 1) if n not in without}


#: What each group is about -> its lines. Not here: de-identification (S21), and what the journal and the exporters
#: prove under names of their own (K, C, X).
CATALOGUE = {
    "DICOM files": ids("D", 30),
    "DICOM series": ids("G", 32),
    "NIfTI, NRRD and MetaImage": ids("N", 12),
    "label maps": ids("L", 9),
    "hostile files, peers and programs": ids("S", 19) | {"S22", "S23"},
    "network": ids("W", 12),
    "models and plugins": ids("M", 14) | {"S20"},
}
#: ``S5``, ``s05`` and ``S05`` are the same line.
ID = re.compile(r"(?<![A-Za-z0-9])([DGNLSWMdgnlswm])(\d{1,2})(?![A-Za-z0-9])")


def named_tests() -> Iterator[tuple[str, str]]:
    """Yield id and test, for every id that the name of a test function carries."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for letter, number in ID.findall(node.name.replace("_", " ")):
                    yield f"{letter.upper()}{int(number):02d}", f"{path.relative_to(ROOT).as_posix()}::{node.name}"


@pytest.mark.parametrize("group", CATALOGUE)
def test_every_line_has_a_test(group: str) -> None:
    found = {name for name, _ in named_tests()}
    assert CATALOGUE[group] - found == set()


def test_no_test_carries_an_id_that_does_not_exist() -> None:
    known = set().union(*CATALOGUE.values())
    strange = defaultdict(list)
    for name, test in named_tests():
        if name not in known:
            strange[name].append(test)
    assert strange == {}


def test_ids_are_read_out_of_names() -> None:
    assert ID.findall("test G07 uneven spacing".replace("_", " ")) == [("G", "07")]
    assert ID.findall("test_S5_W06_hostile".replace("_", " ")) == [("S", "5"), ("W", "06")]
    assert ID.findall("test_D1x_MD02_2D03".replace("_", " ")) == []
