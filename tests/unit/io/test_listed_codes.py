"""The list of warning codes that others rely on names every code that is given, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import medviewer.io


def test_every_warning_code_of_reading_is_listed():
    text = medviewer.io.__doc__ or ""
    listed = re.findall(r"W_\w+", text.partition("Warning codes:")[2].partition("\n\n")[0])
    sources = [path.read_text(encoding="utf-8") for path in Path(medviewer.io.__file__).parent.rglob("*.py")]
    given = {code for source in sources for code in re.findall(r'"(W_\w+)"', source)}
    assert sorted(listed) == sorted(given)
