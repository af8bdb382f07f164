"""The one place where this program listens: while a C-MOVE that the user asked for runs, and never otherwise.

It hangs up on addresses and rejects callers it was not told of, takes only the objects of that C-MOVE, believes no
absurd length, and is gone when the C-MOVE ends.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from medviewer.io.network.association import drop, limit_reading, new_ae
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.guard import Guard
from medviewer.io.network.inbox import MAX_INSTANCE_BYTES, NO_SPACE, Inbox
from medviewer.io.network.servers import Server
from medviewer.jobs.job import JobCancelled

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.transport import ThreadedAssociationServer

MAX_ASSOCIATIONS: Final = 4
_MOST_AT_ONCE: Final = 32
_WAIT_S: Final = 0.25
#: Bytes that a caller may send without an object being complete.
_MOST_PENDING_BYTES: Final = MAX_INSTANCE_BYTES + (64 << 20)
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: One C-MOVE at a time: the server knows one port of ours.
_listening = threading.Lock()


class StoreScp:
    """Listens as a context manager.

    Parameters
    ----------
    server : Server
        Who may call (`ae_title`, `store_ae_titles`) and from where (`host`, `store_hosts`), by which name we must be
        called, and where we listen.
    inbox : Inbox
        Takes what was asked for and refuses the rest.
    classes : sequence of str
        SOP classes that may come.
    guard : Guard

    Attributes
    ----------
    connections : int
        Connections that were made to us from where they may come.
    strangers : set of str
        Addresses that were hung up on.
    """

    def __init__(self, server: Server, inbox: Inbox, classes: Sequence[str], guard: Guard) -> None:
        self.connections = 0
        self.strangers: set[str] = set()
        self._pending: dict[Association, int] = {}
        self._allowed: list[_Network] = []
        self._server = server
        self._inbox = inbox
        self._classes = classes
        self._guard = guard
        self._listener: ThreadedAssociationServer | None = None

    def __enter__(self) -> Self:
        from pynetdicom import evt

        from medviewer.io.network.dimse import SYNTAXES

        server = self._server
        self._allowed = networks((server.host, *server.store_hosts))
        secure = _Unhurried(server.listening_context()) if server.tls else None
        while not _listening.acquire(timeout=_WAIT_S):
            self._guard.alive()
        ae = new_ae(server.own_ae_title)
        ae.require_called_aet = True
        ae.require_calling_aet = [server.ae_title, *server.store_ae_titles]
        ae.maximum_associations = MAX_ASSOCIATIONS
        for uid in self._classes:
            ae.add_supported_context(uid, list(SYNTAXES))
        try:
            self._listener = ae.start_server(
                (server.listen_host, server.listen_port),
                block=False,
                ssl_context=secure,  # type: ignore[arg-type]  # all that is asked of it is `wrap_socket`
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, self._opened),
                    (evt.EVT_CONN_CLOSE, _closed),
                    (evt.EVT_C_STORE, self._store),
                ],
            )
        except OSError as error:
            _listening.release()
            raise NetworkError(
                f"Port {server.listen_port} of this machine cannot be used to receive.",
                hint="Choose another port here and at the server; another program may hold this one.",
                code="E_LISTEN",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.shutdown()
            for assoc in self._listener.active_associations:
                drop(assoc)
            _listening.release()

    def not_reached(self, error: NetworkError | None = None) -> NetworkError:
        """Return what to tell when the server sent nothing."""
        server = self._server
        said = f" It answers: {error.text}" if error is not None else ""
        if self.strangers:
            return NetworkError(
                f"{server.name} did not send, but {', '.join(sorted(self.strangers)[:3])} called.{said}",
                hint="If that is the server, add the address to those it may call from, in its settings.",
                code="E_MOVE_STRANGER",
            )
        return NetworkError(
            f"{server.name} could not send to this machine.{said}",
            hint=f"The server must know the AE title {server.own_ae_title} with this machine's address and port "
            f"{server.listen_port}, and the firewall must let it in. C-GET needs neither.",
            code="E_MOVE_NO_WAY",
        )

    def _opened(self, event: Event) -> None:
        listener, assoc = self._listener, event.assoc
        address = _plain(str(assoc.remote["address"]))
        known = address is not None and any(address in network for network in self._allowed)
        if not known:
            self.strangers.add(str(assoc.remote["address"]))
        else:
            self.connections += 1
        if not known or (listener is not None and len(listener.active_associations) > _MOST_AT_ONCE):
            drop(assoc)
        limit_reading(assoc, lambda count: self._alive(assoc, count))

    def _alive(self, assoc: Association, count: int) -> None:
        if self._guard.stopped:
            raise OSError("stopped")
        if count:
            self._guard.last_sign = time.monotonic()
            self._pending[assoc] = self._pending.get(assoc, 0) + count
            if self._pending[assoc] > _MOST_PENDING_BYTES:
                raise OSError("the object is larger than any that is taken")

    def _store(self, event: Event) -> int:
        from medviewer.io.network.dimse import receive

        self._pending[event.assoc] = 0
        try:
            return receive(event, self._inbox, self._guard)
        except JobCancelled:
            # This thread is the library's; the one that waits for the C-MOVE ends the job.
            return NO_SPACE


def _closed(event: Event) -> None:
    """Wake whoever still waits for the caller to ask: it would hold one of the few places until its time is up."""
    event.assoc.dul.to_user_queue.put(None)


class _Unhurried:
    """Shakes hands when the connection is first read: whoever accepts connections must not wait for one peer."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(self, sock: socket.socket, *, server_side: bool) -> ssl.SSLSocket:
        return self._context.wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False)


def networks(hosts: Sequence[str]) -> list[_Network]:
    """Return what addresses, networks and names stand for; a name that nobody knows stands for nothing."""
    found: list[_Network] = []
    for host in hosts:
        try:
            found.append(ipaddress.ip_network(host.strip(), strict=False))
        except ValueError:
            found += [ipaddress.ip_network(address) for address in map(_plain, _addresses(host.strip())) if address]
    return found


def _addresses(name: str) -> list[str]:
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address; one of IPv4 that comes in the clothes of IPv6 as what it is."""
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address
