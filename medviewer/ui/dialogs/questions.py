"""Questions that need an answer before anything else: the only modal boxes of the program."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QInputDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QWidget,
)

from medviewer.core.geometry import Vec3, vec3


class CloseAnswer(Enum):
    """What to do with unsaved work."""

    SAVE = "save"
    DISCARD = "discard"
    CANCEL = "cancel"


def message_box(parent: QWidget | None, name: str, text: str, more: str = "") -> QMessageBox:
    """Return a box with plain text and no buttons yet."""
    box = QMessageBox(parent)
    box.setObjectName(name)
    box.setWindowTitle("MedViewer")
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(text)
    box.setInformativeText(more)
    box.setIcon(QMessageBox.Icon.Question)
    return box


def add_button(box: QMessageBox, text: str, role: QMessageBox.ButtonRole, name: str) -> QPushButton:
    """Add a button with an object name."""
    button = box.addButton(text, role)
    button.setObjectName(name)
    return button


def ask_yes_no(parent: QWidget | None, text: str) -> bool:
    """Ask a yes-or-no question; Escape is no."""
    box = message_box(parent, "confirmBox", text)
    yes = add_button(box, "Yes", QMessageBox.ButtonRole.YesRole, "confirmYes")
    no = add_button(box, "No", QMessageBox.ButtonRole.NoRole, "confirmNo")
    box.setEscapeButton(no)
    box.exec()
    return box.clickedButton() is yes


def ask_fraction(parent: QWidget | None, text: str) -> float | None:
    """Ask from which fraction on, 0.01 to 1, a voxel counts; None when cancelled. The text is shown as it is."""
    box = QInputDialog(parent)
    box.setObjectName("fractionBox")
    box.setWindowTitle("MedViewer")
    box.setLabelText(text)
    words = box.findChild(QLabel)
    if words is not None:
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
    box.setInputMode(QInputDialog.InputMode.DoubleInput)
    box.setDoubleRange(0.01, 1.0)
    box.setDoubleStep(0.05)
    box.setDoubleValue(0.5)
    return box.doubleValue() if box.exec() else None


def ask_choice(parent: QWidget | None, text: str, choices: Sequence[str]) -> int | None:
    """Ask for one of several; return its place, None when cancelled."""
    box = QInputDialog(parent)
    box.setObjectName("choiceBox")
    box.setWindowTitle("MedViewer")
    box.setLabelText(text)
    words = box.findChild(QLabel)
    if words is not None:
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
    box.setOption(QInputDialog.InputDialogOption.UseListViewForComboBoxItems)
    box.setComboBoxItems(list(choices))
    box.setOkButtonText("Open")
    return list(choices).index(box.textValue()) if box.exec() else None


def ask_name(parent: QWidget | None, text: str, proposed: str) -> str:
    """Ask for a name; empty when cancelled."""
    box = QInputDialog(parent)
    box.setObjectName("nameBox")
    box.setWindowTitle("MedViewer")
    box.setLabelText(text)
    box.setTextValue(proposed)
    return box.textValue().strip() if box.exec() else ""


def ask_spacing(parent: QWidget | None, known: Vec3 | None) -> Vec3 | None:
    """Ask how far voxels lie apart, mm along columns, rows and pictures; None when cancelled."""
    box = QDialog(parent)
    box.setObjectName("spacingBox")
    box.setWindowTitle("Open as a volume")
    form = QFormLayout(box)
    words = QLabel(
        "The files do not say how large these pictures are. Enter it only if you know it: every length and volume "
        "that is measured depends on it, and exports say that it was entered."
    )
    words.setWordWrap(True)
    form.addRow(words)
    fields = []
    for name, mm in zip(("Between columns", "Between rows", "Between pictures"), known or (1.0, 1.0, 1.0), strict=True):
        field = QDoubleSpinBox()
        field.setObjectName(name.lower().replace(" ", "_"))
        field.setRange(0.001, 1000.0)
        field.setDecimals(4)
        field.setSuffix(" mm")
        field.setValue(mm)
        form.addRow(name, field)
        fields.append(field)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
    buttons.accepted.connect(box.accept)
    buttons.rejected.connect(box.reject)
    form.addRow(buttons)
    return vec3(field.value() for field in fields) if box.exec() else None


class DocumentAnswer(Enum):
    """What to do with a document that was found."""

    SAVE = "save"
    SAVE_AND_OPEN = "save and open"
    CANCEL = "cancel"


def ask_about_document(parent: QWidget | None, text: str, *, viewable: bool) -> DocumentAnswer:
    """Ask what to do with a document; only one that is `viewable` may be given to the system's viewer."""
    more = "It is not opened here. Saved, it can be looked at with another program."
    box = message_box(parent, "documentBox", text, more)
    cancel = add_button(box, "Cancel", QMessageBox.ButtonRole.RejectRole, "documentCancel")
    box.setEscapeButton(cancel)
    save = add_button(box, "Save…", QMessageBox.ButtonRole.AcceptRole, "documentSave")
    box.setDefaultButton(save)
    view = None
    if viewable:
        view = add_button(box, "Save and open…", QMessageBox.ButtonRole.AcceptRole, "documentOpen")
    box.exec()
    clicked = box.clickedButton()
    if view is not None and clicked is view:
        return DocumentAnswer.SAVE_AND_OPEN
    return DocumentAnswer.SAVE if clicked is save else DocumentAnswer.CANCEL


def ask_before_closing(parent: QWidget | None, jobs: list[str], unsaved: bool) -> CloseAnswer:
    """Ask what to do with running jobs and unsaved work; without either there is nothing to ask."""
    if not jobs and not unsaved:
        return CloseAnswer.DISCARD
    parts = []
    if jobs:
        parts.append(f"Still running: {', '.join(jobs[:3])}{' …' if len(jobs) > 3 else ''}.")
    if unsaved:
        parts.append("There is work that is not saved. Save it before closing?")
    more = "Closing stops what is running." if jobs else ""
    box = message_box(parent, "closeBox", " ".join(parts), more)
    cancel = add_button(box, "Cancel", QMessageBox.ButtonRole.RejectRole, "closeCancel")
    box.setEscapeButton(cancel)
    save = None
    if unsaved:
        save = add_button(box, "Save", QMessageBox.ButtonRole.AcceptRole, "closeSave")
        discard = add_button(box, "Discard", QMessageBox.ButtonRole.DestructiveRole, "closeDiscard")
    else:
        discard = add_button(box, "Stop and close", QMessageBox.ButtonRole.DestructiveRole, "closeDiscard")
    # Enter loses nothing.
    box.setDefaultButton(save or cancel)
    box.exec()
    clicked = box.clickedButton()
    if save is not None and clicked is save:
        return CloseAnswer.SAVE
    return CloseAnswer.DISCARD if clicked is discard else CloseAnswer.CANCEL
