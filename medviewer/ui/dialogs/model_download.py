"""Where to download a model from, and the hash by which one knows that it is the right one."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLineEdit, QVBoxLayout, QWidget

from medviewer.ai.model_download import names_repository
from medviewer.ui.text import label


class DownloadDialog(QDialog):
    """Asks for an address and a SHA-256."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("modelDownloadDialog")
        self.setWindowTitle("Download a model")
        self.address = QLineEdit()
        self.address.setObjectName("downloadAddress")
        self.address.setPlaceholderText("https://…, organisation/name@revision/file, or organisation/name@commit")
        self.sha256 = QLineEdit()
        self.sha256.setObjectName("downloadHash")
        self.sha256.setPlaceholderText("64 letters and digits of the file; not for a whole repository")
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Address", self.address)
        form.addRow("SHA-256", self.sha256)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.start_button = buttons.addButton("Download", QDialogButtonBox.ButtonRole.AcceptRole)
        self.start_button.setObjectName("startDownload")
        self.start_button.setDefault(True)
        self.start_button.setProperty("next", True)
        self.start_button.setEnabled(False)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        for field in (self.address, self.sha256):
            field.textChanged.connect(lambda _: self._enable())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(14)
        layout.addLayout(form)
        layout.addWidget(
            label(
                "This fetches a file, or all files of a repository at a commit, and sends nothing of yours. What does "
                "not have its hash is thrown away. A download that is cut goes on where it ended.",
                role="soft",
                wrap=True,
            )
        )
        layout.addWidget(buttons)
        self.setMinimumWidth(560)

    @property
    def asked(self) -> tuple[str, str]:
        """Address and hash, as entered."""
        return self.address.text().strip(), self.sha256.text().strip()

    def _enable(self) -> None:
        address, sha256 = self.asked
        self.start_button.setEnabled(bool(address) and (bool(sha256) or names_repository(address)))
