"""A sample of the bar that `make reliability` measures in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.bar.bar import Line, measure, rows


@pytest.fixture(scope="module")
def lines(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Line]:
    folder = tmp_path_factory.mktemp("bar")
    found = measure(shared_data / "dicom", folder, mutants=4, archives="[eo]*.zip", sample=True)
    return {line.id: line for line in found}


# R-02 is a share of all real files; a sample of the odd ones lies below it.
@pytest.mark.parametrize("line_id", sorted(rows().keys() - {"R-02"}))
def test_the_bar_is_reached(lines: dict[str, Line], line_id: str) -> None:
    line = lines[line_id]
    assert line.right, line.figure
