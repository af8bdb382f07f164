"""The servers a user knows. They are kept in one file that only this user can read."""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from medviewer.io.network.errors import NetworkError
from medviewer.io.private import write_private

log = logging.getLogger(__name__)

Kind = Literal["dimse", "dicomweb"]
Auth = Literal["none", "basic", "bearer"]
Fetch = Literal["get", "move"]
VERSION = 1
_AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,15})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server.

    Attributes
    ----------
    name : str
        What the user calls it; unique.
    kind : "dimse" or "dicomweb"
    host, port, ae_title : str, int, str
        Where a DIMSE server listens, and its AE title.
    own_ae_title : str
        What this program calls itself there.
    fetch : "get" or "move"
        How it gives its objects away: over our connection (C-GET), or by calling us back (C-MOVE).
    listen_host, listen_port : str, int
        Where we listen while a C-MOVE runs; never at any other time.
    store_ae_titles, store_hosts : tuple of str
        Who else than `ae_title` may send to us then, and from where else than `host`: addresses, networks
        (``10.1.0.0/16``) or names.
    charset : str
        What queries are written in when ASCII does not do (a defined term of PS3.3 C.12.1.1.2); empty: never.
    tls, ca_file, client_cert, client_key, verify
        TLS, whom to trust (empty: the system's authorities), who we are. `verify` False accepts any certificate.
    url : str
        Root of a DICOMweb service.
    auth, user, secret
        How to sign in; `secret` is the password or the bearer token.
    """

    name: str
    kind: Kind = "dimse"
    host: str = "127.0.0.1"
    port: int = 104
    ae_title: str = "ANY-SCP"
    own_ae_title: str = "MEDVIEWER"
    fetch: Fetch = "get"
    listen_host: str = "127.0.0.1"
    listen_port: int = 11112
    store_ae_titles: tuple[str, ...] = ()
    store_hosts: tuple[str, ...] = ()
    charset: str = "ISO_IR 192"
    tls: bool = False
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    verify: bool = True
    url: str = ""
    auth: Auth = "none"
    user: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.url if self.kind == "dicomweb" else f"{self.ae_title} at {self.host}:{self.port}"

    @property
    def is_encrypted(self) -> bool:
        """Whether what is exchanged cannot be read on the way."""
        return self.tls if self.kind == "dimse" else self.url.lower().startswith("https:")

    def check(self) -> None:
        """Refuse what cannot work.

        Raises
        ------
        NetworkError
            ``E_SERVER``, with the field to correct.
        """
        if not self.name.strip():
            raise _wrong("The server needs a name.")
        if self.kind == "dicomweb":
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise _wrong("The address must begin with https:// or http:// and name a host.")
            if parts.username or parts.password:
                raise _wrong("The address must not hold a user name or password; there are fields for them.")
            return
        if not self.host.strip() or not self.ports_are_valid:
            raise _wrong("A host and ports from 1 to 65535 are needed.")
        for title in (self.ae_title, self.own_ae_title, *self.store_ae_titles):
            if not _AE_TITLE.fullmatch(title):
                raise _wrong("An AE title has 1 to 16 characters, none of them a backslash.")
        if self.fetch == "move" and self.tls and not self.client_cert:
            raise _wrong("C-MOVE over TLS needs a certificate of ours, for the server calls us; or fetch by C-GET.")

    @property
    def ports_are_valid(self) -> bool:
        """Whether the ports can exist."""
        return 0 < self.port < 65536 and 0 < self.listen_port < 65536

    def tls_context(self) -> ssl.SSLContext:
        """Return how to speak TLS with it (TLS 1.2 or newer, as BCP 195 has it).

        Raises
        ------
        NetworkError
            ``E_TLS`` when a certificate file cannot be used.
        """
        context = self._context(ssl.Purpose.SERVER_AUTH)
        if not self.verify:
            log.warning("The certificate of a server is not verified, as its settings ask.")
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def listening_context(self) -> ssl.SSLContext:
        """Return how it must speak TLS when it calls us: with a certificate that we trust.

        Raises
        ------
        NetworkError
            ``E_TLS`` when a certificate file cannot be used.
        """
        context = self._context(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        return context

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(purpose, cafile=self.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.client_cert:
                context.load_cert_chain(self.client_cert, self.client_key or None)
        except (OSError, ssl.SSLError) as error:
            raise NetworkError(
                "A certificate file of the server cannot be used.",
                hint="Choose PEM files that you may read.",
                code="E_TLS",
            ) from error
        return context


def _wrong(text: str) -> NetworkError:
    return NetworkError(text, hint="Correct the settings of the server.", code="E_SERVER")


class ServerStore:
    """The servers, in a TOML file with mode 0600.

    Parameters
    ----------
    path : Path
        Made when there is something to keep.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._servers = self._load()

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers, in the user's order."""
        return self._servers

    def put(self, server: Server, instead_of: str = "") -> None:
        """Add a server, or change the one that was called `instead_of`.

        Raises
        ------
        NetworkError
            ``E_SERVER`` when it cannot work or its name is taken.
        """
        server.check()
        old = instead_of or server.name
        if server.name != old and any(known.name == server.name for known in self._servers):
            raise _wrong("Another server has this name.")
        servers = [server if known.name == old else known for known in self._servers]
        if server not in servers:
            servers.append(server)
        self._save(servers)

    def remove(self, name: str) -> None:
        """Forget a server and its password."""
        self._save([server for server in self._servers if server.name != name])

    def _load(self) -> tuple[Server, ...]:
        try:
            data = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            log.warning("The list of servers could not be read; it is set aside.")
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_suffix(".bad"))
            return ()
        entries = data.get("server", [])
        return tuple(_server(entry) for entry in entries if isinstance(entry, dict) and entry.get("name"))

    def _save(self, servers: Sequence[Server]) -> None:
        lines = [f"version = {VERSION}"]
        for server in servers:
            lines.append("\n[[server]]")
            lines += [f"{item.name} = {_toml(getattr(server, item.name))}" for item in fields(Server)]
        try:
            write_private(self._path, ("\n".join(lines) + "\n").encode("utf-8"))
        except OSError as error:
            raise NetworkError(
                "The list of servers could not be saved.", hint="Check the disk and try again.", code="E_WRITE"
            ) from error
        self._servers = tuple(servers)


def _server(entry: dict[str, object]) -> Server:
    """Return a server from its table; what has the wrong type keeps its default."""
    values: dict[str, object] = {}
    defaults = Server(name="")
    for item in fields(Server):
        value = entry.get(item.name)
        if isinstance(value, list):
            value = tuple(str(part) for part in value)
        if value is not None and type(value) is type(getattr(defaults, item.name)):
            values[item.name] = value
    return Server(**values)  # type: ignore[arg-type]  # each has the type of its default


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    escaped = "".join(
        {"\\": "\\\\", '"': '\\"'}.get(c, c if c.isprintable() else f"\\U{ord(c):08X}") for c in str(value)
    )
    return f'"{escaped}"'
