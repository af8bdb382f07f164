"""One server: where it is, what it is called, how it is reached safely."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.errors import MedViewerError
from medviewer.io.network.query import CHARSETS
from medviewer.io.network.servers import Server
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

KINDS = (("dimse", "DICOM (C-FIND, C-GET, C-MOVE)"), ("dicomweb", "DICOMweb (QIDO, WADO, STOW)"))
FETCHES = (("get", "C-GET: over our own connection"), ("move", "C-MOVE: the server calls us back"))
AUTHS = (("none", "None"), ("basic", "User name and password"), ("bearer", "Bearer token"))


class ServerDialog(QDialog):
    """Adds or edits a server; nothing changes until it is accepted."""

    def __init__(self, app: AppContext, server: Server | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pacsServerDialog")
        self.setWindowTitle("Server" if server is None else f"Server {server.name}")
        self._app = app
        self._old = server.name if server is not None else ""
        self._form = QFormLayout()
        self._form.setVerticalSpacing(8)
        self._form.setHorizontalSpacing(18)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._rows: list[tuple[QWidget, Callable[[], bool]]] = []
        self._build(server or Server(name="", port=104))
        self.problem = label("", name="pacsServerProblem", role="error", wrap=True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.button(QDialogButtonBox.StandardButton.Ok).setObjectName("pacsServerOk")
        self.test_button = buttons.addButton("Test", QDialogButtonBox.ButtonRole.ActionRole)
        self.test_button.setObjectName("pacsServerTest")
        self.test_button.clicked.connect(self._test)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addLayout(self._form)
        layout.addWidget(self.problem)
        layout.addStretch(1)
        layout.addWidget(buttons)
        self.setMinimumWidth(560)
        self._show_rows()

    def server(self) -> Server:
        """Return what the fields say."""
        return Server(
            name=self.name.text().strip(),
            kind=self.kind.currentData(),
            host=self.host.text().strip(),
            port=self.port.value(),
            ae_title=self.ae_title.text().strip(),
            own_ae_title=self.own_ae_title.text().strip(),
            fetch=self.fetch.currentData(),
            listen_host=self.listen_host.text().strip() or "127.0.0.1",
            listen_port=self.listen_port.value(),
            store_ae_titles=_listed(self.store_ae_titles.text()),
            store_hosts=_listed(self.store_hosts.text()),
            charset=self.charset.currentData(),
            tls=self.tls.isChecked(),
            ca_file=self.ca_file.text().strip(),
            client_cert=self.client_cert.text().strip(),
            client_key=self.client_key.text().strip(),
            verify=self.verify.isChecked(),
            url=self.url.text().strip(),
            auth=self.auth.currentData(),
            user=self.user.text(),
            secret=self.secret.text(),
        )

    def _build(self, server: Server) -> None:
        self.name = self._line("Name", "pacsName", server.name)
        self.kind = self._combo("Speaks", "pacsKind", KINDS, server.kind)
        self.url = self._line("Address", "pacsUrl", server.url, self._is_web)
        self.url.setPlaceholderText("https://pacs.example.org/dicom-web")
        self.host = self._line("Host", "pacsHost", server.host, self._is_dimse)
        self.port = self._port("Port", "pacsPort", server.port, self._is_dimse)
        self.ae_title = self._line("Its AE title", "pacsAeTitle", server.ae_title, self._is_dimse)
        self.own_ae_title = self._line("Our AE title", "pacsOwnAeTitle", server.own_ae_title, self._is_dimse)
        self.fetch = self._combo("Fetch by", "pacsFetch", FETCHES, server.fetch, self._is_dimse)
        self.listen_host = self._line("Listen at", "pacsListenHost", server.listen_host, self._is_move)
        self.listen_host.setToolTip("127.0.0.1: only this machine can send. 0.0.0.0: the network can, during a C-MOVE.")
        self.listen_port = self._port("Listen on port", "pacsListenPort", server.listen_port, self._is_move)
        titles = ", ".join(server.store_ae_titles)
        self.store_ae_titles = self._line("Further callers", "pacsStoreAeTitles", titles, self._is_move)
        self.store_ae_titles.setPlaceholderText("AE titles, separated by commas")
        self.store_hosts = self._line(
            "Further addresses", "pacsStoreHosts", ", ".join(server.store_hosts), self._is_move
        )
        self.store_hosts.setPlaceholderText("addresses, networks or names")
        charsets = tuple(CHARSETS.items())
        self.charset = self._combo("Character set", "pacsCharset", charsets, server.charset, self._is_dimse)
        self.charset.setToolTip("What names are asked for in when they are not plain ASCII.")
        self.auth = self._combo("Sign in with", "pacsAuth", AUTHS, server.auth, self._is_web)
        self.user = self._line("User name", "pacsUser", server.user, self._has_user)
        self.secret = self._line("Password or token", "pacsSecret", server.secret, self._has_secret)
        self.secret.setEchoMode(QLineEdit.EchoMode.Password)
        self.tls = QCheckBox("Encrypt with TLS")
        self.tls.setObjectName("pacsTls")
        self.tls.setChecked(server.tls)
        self._add("", self.tls, self._is_dimse)
        self.ca_file = self._file("Trusted authority", "pacsCaFile", server.ca_file, self._is_tls)
        self.client_cert = self._file("Our certificate", "pacsClientCert", server.client_cert, self._is_tls)
        self.client_key = self._file("Its key", "pacsClientKey", server.client_key, self._is_tls)
        self.verify = QCheckBox("Verify the server's certificate (recommended)")
        self.verify.setObjectName("pacsVerify")
        self.verify.setChecked(server.verify)
        self._add("", self.verify, self._is_tls)
        for combo in (self.kind, self.fetch, self.auth):
            combo.currentIndexChanged.connect(self._show_rows)
        self.tls.toggled.connect(self._show_rows)
        self.url.textChanged.connect(self._show_rows)

    # ---- which fields matter

    def _is_web(self) -> bool:
        return bool(self.kind.currentData() == "dicomweb")

    def _is_dimse(self) -> bool:
        return not self._is_web()

    def _is_move(self) -> bool:
        return self._is_dimse() and bool(self.fetch.currentData() == "move")

    def _is_tls(self) -> bool:
        return self.url.text().lower().startswith("https:") if self._is_web() else self.tls.isChecked()

    def _has_user(self) -> bool:
        return self._is_web() and bool(self.auth.currentData() == "basic")

    def _has_secret(self) -> bool:
        return self._is_web() and bool(self.auth.currentData() != "none")

    def _show_rows(self, *_: object) -> None:
        for widget, is_shown in self._rows:
            self._form.setRowVisible(widget, is_shown())
        self.adjustSize()

    # ---- fields

    def _add(self, title: str, widget: QWidget, is_shown: Callable[[], bool] | None = None) -> None:
        self._form.addRow(title, widget)
        if is_shown is not None:
            self._rows.append((widget, is_shown))

    def _line(self, title: str, name: str, value: str, is_shown: Callable[[], bool] | None = None) -> QLineEdit:
        line = QLineEdit(value)
        line.setObjectName(name)
        self._add(title, line, is_shown)
        return line

    def _port(self, title: str, name: str, value: int, is_shown: Callable[[], bool]) -> QSpinBox:
        spin = QSpinBox()
        spin.setObjectName(name)
        spin.setRange(1, 65535)
        spin.setValue(value)
        self._add(title, spin, is_shown)
        return spin

    def _combo(
        self,
        title: str,
        name: str,
        items: tuple[tuple[str, str], ...],
        chosen: str,
        is_shown: Callable[[], bool] | None = None,
    ) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName(name)
        for data, text in items:
            combo.addItem(text, data)
        combo.setCurrentIndex(max(0, combo.findData(chosen)))
        self._add(title, combo, is_shown)
        return combo

    def _file(self, title: str, name: str, value: str, is_shown: Callable[[], bool]) -> QLineEdit:
        line = QLineEdit(value)
        line.setObjectName(name)
        line.setPlaceholderText("PEM file")

        def choose() -> None:
            path, _ = QFileDialog.getOpenFileName(self, title, line.text(), "Certificates (*.pem *.crt *.cer *.key)")
            if path:
                line.setText(path)

        both = QWidget()
        row = QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(line, 1)
        row.addWidget(push_button(f"{name}Choose", "Choose…", choose))
        self._add(title, both, is_shown)
        return line

    # ---- doing

    def _tell(self, text: str, role: str) -> None:
        self.problem.setText(text)
        self.problem.setProperty("role", role)
        restyle(self.problem)

    def _test(self) -> None:
        job = self._app.pacs.test(self.server())
        self._tell("Asking the server…", "soft")
        self.test_button.setEnabled(False)

        def ended(state: object) -> None:
            if not job.state.is_final:
                return
            job.state_changed.disconnect(ended)
            self.test_button.setEnabled(True)
            self._tell(str(job.error or job.result or "Cancelled"), "error" if job.error is not None else "good")

        job.state_changed.connect(ended)
        self.finished.connect(lambda _: job.state_changed.disconnect(ended, missing_ok=True))

    def _accept(self) -> None:
        try:
            self._app.pacs.put_server(self.server(), self._old)
        except MedViewerError as error:
            self._tell(str(error), "error")
            return
        self.accept()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
