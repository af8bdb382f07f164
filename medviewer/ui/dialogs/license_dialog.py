"""The licence of a model, whole and to be read, before the model runs for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QVBoxLayout, QWidget

from medviewer.api.plugin import TaskInfo
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class LicenseDialog(QDialog):
    """Shows who made a model and under which licence; accepted or not, Escape is not."""

    def __init__(self, title: str, name: str, credit: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("licenseBox")
        self.setWindowTitle("Licence")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(label(title, role="heading", wrap=True))
        layout.addWidget(label(f"Licence: {name}", name="licenseName", wrap=True))
        if credit:
            layout.addWidget(label(credit, role="soft", wrap=True))
        if text:
            self.text = QPlainTextEdit(text)
            self.text.setObjectName("licenseText")
            self.text.setReadOnly(True)
            self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
            layout.addWidget(self.text, 1)
            self.resize(680, 560)
        else:
            words = "Its text is not at hand. Read it where the model comes from before you accept it."
            layout.addWidget(label(words, name="licenseElsewhere", role="warning", wrap=True))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        yes = buttons.addButton("Accept", QDialogButtonBox.ButtonRole.AcceptRole)
        yes.setObjectName("licenseAccept")
        no = buttons.button(QDialogButtonBox.StandardButton.Cancel)
        no.setObjectName("licenseCancel")
        # Enter must not accept what nobody read.
        yes.setAutoDefault(False)
        no.setDefault(True)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)


def accept_license(app: AppContext, task: TaskInfo, parent: QWidget | None = None) -> bool:
    """Show the licence of a task's model; note and return whether it was accepted."""
    models = app.models
    dialog = LicenseDialog(task.title, task.license, models.credit(task), models.license_text(task), parent)
    if not dialog.exec():
        return False
    models.accept(task)
    return True
