"""The settings: where to compute, the brush to start with, what is remembered and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.paths import data_dir
from medviewer.ui.dialogs.questions import ask_yes_no
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

DEVICES = (("auto", "Automatic: GPU if there is one"), ("cpu", "CPU"), ("cuda", "NVIDIA GPU (CUDA)"))
SHAPES = (("disc", "Disc in the slice"), ("sphere", "Sphere"))


class SettingsDialog(QDialog):
    """Edits `Settings`; nothing changes until it is accepted."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("settingsDialog")
        self.setWindowTitle("Settings")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        settings = app.settings
        self.device = _combo("settingsDevice", DEVICES, settings.device)
        self.radius = QDoubleSpinBox()
        self.radius.setObjectName("settingsBrushRadius")
        self.radius.setRange(0.5, 100.0)
        self.radius.setSingleStep(0.5)
        self.radius.setDecimals(1)
        self.radius.setSuffix(" mm")
        self.radius.setValue(settings.brush_radius_mm)
        self.shape = _combo("settingsBrushShape", SHAPES, settings.brush_shape)
        self.keep_recent = QCheckBox("Remember folders and files opened last")
        self.keep_recent.setObjectName("settingsKeepRecent")
        self.keep_recent.setChecked(settings.keep_recent)
        self.keep_library = QCheckBox("List the studies I open in the library")
        self.keep_library.setObjectName("settingsKeepLibrary")
        self.keep_library.setChecked(settings.keep_library)
        form = QFormLayout()
        form.setVerticalSpacing(10)
        form.setHorizontalSpacing(18)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Compute on", self.device)
        form.addRow("Brush radius", self.radius)
        form.addRow("Brush shape", self.shape)
        form.addRow("", self.keep_recent)
        form.addRow("", self._library_row())
        form.addRow("Data folder", self._folder_row())
        kept = label(
            "Kept between sessions: these settings, the window layout, the recent list, the library, and the journal "
            "of unsaved work until it is saved or thrown away. The device changes at the next start.",
            role="soft",
            wrap=True,
        )
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.button(QDialogButtonBox.StandardButton.Ok).setObjectName("settingsOk")
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(14)
        layout.addLayout(form)
        layout.addWidget(kept)
        layout.addStretch(1)
        layout.addWidget(buttons)
        self.setMinimumWidth(520)

    def _library_row(self) -> QHBoxLayout:
        clear = push_button(
            "settingsClearLibrary",
            "Clear library…",
            self._clear_library,
            tip="Forget all studies of the library and remove its imported copies",
        )
        row = QHBoxLayout()
        row.addWidget(self.keep_library, 1)
        row.addWidget(clear)
        return row

    def _clear_library(self) -> None:
        text = "Forget all studies of the library and remove its imported copies? Images elsewhere stay where they are."
        if ask_yes_no(self, text):
            self._app.library.clear()

    def _folder_row(self) -> QHBoxLayout:
        folder = data_dir()
        place = label(str(folder), name="settingsDataFolder", role="soft")
        place.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        show = push_button(
            "settingsShowFolder",
            "Show",
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))),
            tip="Open the folder that holds settings, journals, plugins and the log",
        )
        row = QHBoxLayout()
        row.addWidget(place, 1)
        row.addWidget(show)
        return row

    def _accept(self) -> None:
        settings = self._app.settings
        settings.device = self.device.currentData()
        settings.brush_radius_mm = self.radius.value()
        settings.brush_shape = self.shape.currentData()
        settings.keep_recent = self.keep_recent.isChecked()
        if not settings.keep_recent:
            settings.recent = []
        self._use_brush()
        if settings.keep_library != self.keep_library.isChecked():
            self._app.library.enable(self.keep_library.isChecked())
        settings.save()
        self.accept()

    def _use_brush(self) -> None:
        options = self._app.router.options("brush")
        if options is not None:
            for name, value in (("radius_mm", self.radius.value()), ("shape", self.shape.currentData())):
                setattr(options, name, value)
            self._app.router.options_changed()


def _combo(name: str, items: tuple[tuple[str, str], ...], chosen: str) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    for data, title in items:
        combo.addItem(title, data)
    if combo.findData(chosen) < 0:
        combo.addItem(chosen, chosen)
    combo.setCurrentIndex(combo.findData(chosen))
    return combo
