"""The one place where this program listens: while a C-MOVE that the user asked for runs, and never otherwise.

It rejects callers it was not told of, takes only the objects of that C-MOVE, believes no absurd length, and is gone
when the C-MOVE ends.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from medviewer.io.network.association import drop, limit_reading, new_ae
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.guard import Guard
from medviewer.io.network.inbox import NO_SPACE, Inbox
from medviewer.io.network.servers import Server
from medviewer.jobs.job import JobCancelled

if TYPE_CHECKING:
    from pynetdicom.events import Event
    from pynetdicom.transport import ThreadedAssociationServer

MAX_ASSOCIATIONS: Final = 4
_MOST_AT_ONCE: Final = 32
_WAIT_S: Final = 0.25
#: One C-MOVE at a time: the server knows one port of ours.
_listening = threading.Lock()


class StoreScp:
    """Listens as a context manager.

    Parameters
    ----------
    server : Server
        Who may call (its AE title and its `store_ae_titles`), by which name we must be called, and where we listen.
    inbox : Inbox
        Takes what was asked for and refuses the rest.
    classes : sequence of str
        SOP classes that may come.
    guard : Guard

    Attributes
    ----------
    connections : int
        Connections that were made to us.
    """

    def __init__(self, server: Server, inbox: Inbox, classes: Sequence[str], guard: Guard) -> None:
        self.connections = 0
        self._server = server
        self._inbox = inbox
        self._classes = classes
        self._guard = guard
        self._listener: ThreadedAssociationServer | None = None

    def __enter__(self) -> Self:
        from pynetdicom import evt

        from medviewer.io.network.dimse import SYNTAXES

        server = self._server
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
                evt_handlers=[(evt.EVT_CONN_OPEN, self._opened), (evt.EVT_C_STORE, self._store)],
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
        return NetworkError(
            f"{server.name} could not send to this machine.{said}",
            hint=f"The server must know the AE title {server.own_ae_title} with this machine's address and port "
            f"{server.listen_port}, and the firewall must let it in. C-GET needs neither.",
            code="E_MOVE_NO_WAY",
        )

    def _opened(self, event: Event) -> None:
        self.connections += 1
        listener = self._listener
        if listener is not None and len(listener.active_associations) > _MOST_AT_ONCE:
            transport = event.assoc.dul.socket
            if transport is not None and transport.socket is not None:
                transport.socket.shutdown(socket.SHUT_RDWR)
        limit_reading(event.assoc, self._alive)

    def _alive(self, count: int) -> None:
        if self._guard.stopped:
            raise OSError("stopped")
        if count:
            self._guard.last_sign = time.monotonic()

    def _store(self, event: Event) -> int:
        from medviewer.io.network.dimse import receive

        try:
            return receive(event, self._inbox, self._guard)
        except JobCancelled:
            # This thread is the library's; the one that waits for the C-MOVE ends the job.
            return NO_SPACE
