"""The theme can be read, and every name in it exists."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from medviewer.app.actions import ACTIONS
from medviewer.editing.tool import all_tools
from medviewer.ui.actions import PICTURES
from medviewer.ui.icons import draw, icon
from medviewer.ui.resources import has_resource, resource_dir, resource_text
from medviewer.ui.text import dicom_date, duration, label, lps_text, person_name, plain_tip
from medviewer.ui.theme import COLORS, TEXT_PAIRS, contrast, style_sheet


@pytest.mark.parametrize(("text", "background"), TEXT_PAIRS)
def test_text_is_readable(text: str, background: str) -> None:
    assert contrast(COLORS[text], COLORS[background]) >= 4.5


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_style_sheet_names_only_colours_and_files_that_exist() -> None:
    sheet = style_sheet(resource_text("themes/dark.qss"), {**COLORS, "here": "/x"})
    assert "@" not in sheet
    for part in sheet.split('url("/x/')[1:]:
        assert has_resource("themes/" + part.split('"')[0])


def test_every_icon_draws_something(qtbot: QtBot) -> None:
    for path in sorted((resource_dir() / "icons").rglob("*.svg")):
        name = path.relative_to(resource_dir() / "icons").with_suffix("").as_posix()
        image = draw(name, "#ffffff", 32).toImage()
        assert any(image.pixelColor(x, y).alpha() for x in range(32) for y in range(32)), name


def test_every_tool_and_command_has_its_icon(qtbot: QtBot) -> None:
    for info in all_tools():
        assert has_resource(f"icons/tools/{info.id}.svg")
    for picture in PICTURES.values():
        assert has_resource(f"icons/{picture}.svg")
    assert set(PICTURES) <= {action.id for action in ACTIONS}
    assert not icon("no such icon").isNull()


def test_text_from_files_is_never_markup(qtbot: QtBot) -> None:
    made = label("<img src='http://x'>")
    qtbot.addWidget(made)
    assert made.textFormat() is Qt.TextFormat.PlainText
    assert "<img" not in plain_tip("<img src='http://x'>")


def test_words_for_people() -> None:
    assert person_name("Doe^Jane^^Dr") == "Doe, Jane Dr"
    assert person_name("") == "No name"
    assert dicom_date("20240131") == "2024-01-31"
    assert dicom_date("?") == "?"
    assert [duration(s) for s in (0.44, 12.3, 200, 7200)] == ["0.4 s", "12 s", "3 min", "2.0 h"]
    assert lps_text((-1.25, 2.0, -3.0)) == "R 1.2  P 2.0  F 3.0 mm"
