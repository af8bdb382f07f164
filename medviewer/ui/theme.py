"""The dark theme: one palette, one style sheet, one accent colour."""

from __future__ import annotations

import re
from collections.abc import Mapping

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from medviewer.ui.resources import resource_dir, resource_text

#: sRGB. Text on every background it is used on has a contrast of at least 4.5:1 (WCAG 2.2, 1.4.3).
COLORS: Mapping[str, str] = {
    "window": "#1b1e23",  # behind everything
    "panel": "#23272e",  # docks, dialogs
    "field": "#15181c",  # lists and inputs
    "raised": "#323843",  # buttons
    "hover": "#3d4552",
    "border": "#3a414d",
    "text": "#e4e7ec",
    "soft": "#a9b1bd",  # secondary text
    "disabled": "#79818e",
    "accent": "#4ea1e0",  # the one accent
    "accent_fill": "#1f6296",  # accent behind light text
    "accent_hover": "#236a9f",
    "select": "#27486a",  # selected rows
    "good": "#6cc38a",
    "warning": "#e8b955",
    "error": "#f28b82",
    "error_fill": "#4a2526",
    "warning_fill": "#443719",
    "info_fill": "#22384c",
}

#: Foreground on background, as the style sheet and the widgets use them.
TEXT_PAIRS: tuple[tuple[str, str], ...] = (
    ("text", "window"),
    ("text", "panel"),
    ("text", "field"),
    ("text", "raised"),
    ("text", "hover"),
    ("text", "select"),
    ("text", "accent_fill"),
    ("text", "accent_hover"),
    ("soft", "window"),
    ("soft", "panel"),
    ("soft", "field"),
    ("good", "field"),
    ("warning", "field"),
    ("error", "field"),
    ("warning", "panel"),
    ("error", "panel"),
    ("good", "panel"),
    ("text", "error_fill"),
    ("text", "warning_fill"),
    ("text", "info_fill"),
)


def color(name: str) -> QColor:
    """Return a colour of the theme by its name."""
    return QColor(COLORS[name])


def luminance(hex_color: str) -> float:
    """Return the relative luminance, 0..1.

    References
    ----------
    WCAG 2.2, definition of relative luminance.
    """
    channels = (int(hex_color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(foreground: str, background: str) -> float:
    """Return the contrast ratio, 1..21, of two ``#rrggbb`` colours."""
    light, dark = sorted((luminance(foreground), luminance(background)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def style_sheet(template: str, colors: Mapping[str, str] = COLORS) -> str:
    """Fill ``@name`` in a style sheet; an unknown name is a KeyError."""
    return re.sub(r"@(\w+)", lambda match: colors[match.group(1)], template)


def palette() -> QPalette:
    """Return the palette for what the style sheet does not reach."""
    made = QPalette()
    roles = QPalette.ColorRole
    for role, name in (
        (roles.Window, "panel"),
        (roles.WindowText, "text"),
        (roles.Base, "field"),
        (roles.AlternateBase, "window"),
        (roles.Text, "text"),
        (roles.Button, "raised"),
        (roles.ButtonText, "text"),
        (roles.ToolTipBase, "raised"),
        (roles.ToolTipText, "text"),
        (roles.PlaceholderText, "soft"),
        (roles.BrightText, "error"),
        (roles.Highlight, "select"),
        (roles.HighlightedText, "text"),
        (roles.Link, "accent"),
        (roles.Light, "hover"),
        (roles.Mid, "border"),
        (roles.Dark, "window"),
        (roles.Shadow, "field"),
    ):
        made.setColor(role, color(name))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, color("disabled"))
    return made


def apply_theme(app: QApplication) -> None:
    """Dress the program."""
    app.setStyle("Fusion")
    app.setPalette(palette())
    font = QFont(app.font())
    font.setPointSizeF(10.0)
    app.setFont(font)
    here = (resource_dir() / "themes").as_posix()
    app.setStyleSheet(style_sheet(resource_text("themes/dark.qss"), {**COLORS, "here": here}))


def restyle(widget: QWidget) -> None:
    """Let a widget look as its changed properties say."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
