"""One association: opened, guarded and ended, with every refusal in words.

References
----------
DICOM PS3.8 section 9.3 (PDUs, reasons for rejection), PS3.15 annex B (secure transport).
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from medviewer.io.network.errors import NetworkError
from medviewer.io.network.guard import ANSWER_S, CONNECT_S, Guard
from medviewer.io.network.servers import Server

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.presentation import PresentationContext

#: Longest PDU that is believed; ours are at most `PDU_BYTES`.
LONGEST_PDU_BYTES: Final = 4 << 20
PDU_BYTES: Final = 128 << 10
_CHUNK: Final = 64 << 10
_SLICE_S: Final = 0.25
#: Linux: acknowledge at once; servers that send a command and its data apart would wait 40 ms for each object.
_QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)

#: (result source, reason) of A-ASSOCIATE-RJ (PS3.8 table 9-21) in words.
REJECTIONS: Final = {
    (1, 1): "it gives no reason",
    (1, 2): "it does not speak DICOM's application context",
    (1, 3): "it does not know our AE title",
    (1, 7): "it is not called by the AE title that we used",
    (2, 1): "it gives no reason",
    (2, 2): "it speaks another version of the protocol",
    (3, 1): "it is busy just now",
    (3, 2): "it has reached its limit of connections",
}
_REJECTION_HINTS: Final = {
    (1, 3): "Have our AE title registered at the server, or correct it in the settings of the server.",
    (1, 7): "Correct the server's AE title; capitals matter.",
    (3, 1): "Try again in a minute.",
    (3, 2): "Try again in a minute.",
}


def quiet_logs() -> None:
    """Keep what the libraries log out of our log: it may hold values of a patient."""
    for name in ("pynetdicom", "urllib3", "requests", "dicomweb_client", "retrying"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False


def new_ae(title: str) -> ApplicationEntity:
    """Return an application entity with our timeouts."""
    from pynetdicom import AE, _config

    quiet_logs()
    _config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, not a new encoding of them
    ae = AE(ae_title=title)
    ae.connection_timeout = CONNECT_S
    ae.acse_timeout = CONNECT_S
    ae.dimse_timeout = ANSWER_S
    ae.network_timeout = ANSWER_S
    ae.maximum_pdu_size = PDU_BYTES
    return ae


def limit_reading(assoc: Association, alive: Callable[[int], None]) -> None:
    """Have an association read in large pieces, stop when told, and disbelieve absurd lengths.

    Parameters
    ----------
    alive : callable
        Called with the number of bytes that came (0: none for a while); raises OSError to close the connection.
    """
    transport = assoc.dul.socket
    assert transport is not None
    if transport.socket is not None:
        # A response is short; without this each waits for the peer's delayed acknowledgement.
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def recv(count: int) -> bytearray:
        if count > LONGEST_PDU_BYTES:
            raise OSError("the PDU is longer than any that was agreed on")
        data = bytearray()
        end = time.monotonic() + ANSWER_S
        while len(data) < count:
            sock = transport.socket
            if sock is None or time.monotonic() > end:
                raise OSError("the PDU did not come in time")
            sock.settimeout(_SLICE_S)
            if _QUICK_ACK is not None:
                sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            try:
                piece = sock.recv(min(_CHUNK, count - len(data)))
            except TimeoutError:
                alive(0)
                continue
            finally:
                sock.settimeout(ANSWER_S)
            if not piece:
                break
            data += piece
            alive(len(piece))
        return data

    transport.recv = recv  # type: ignore[method-assign,assignment]  # the library has no other way in


@contextmanager
def associate(
    server: Server,
    guard: Guard,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[tuple[Any, ...]] = (),
) -> Iterator[Association]:
    """Open an association; it is released at the end, or aborted when something failed.

    Raises
    ------
    NetworkError
        With what the server said, or why it cannot be reached.
    """
    from pynetdicom import evt

    tls = (server.tls_context(), server.host) if server.tls else None
    address = _resolve(server)
    opened: list[Association] = []

    def alive(count: int) -> None:
        if guard.stopped:
            raise OSError("stopped")
        if count:
            guard.last_sign = time.monotonic()

    def on_open(event: Event) -> None:
        opened.append(event.assoc)
        limit_reading(event.assoc, alive)
        guard.on_stop(lambda: drop(event.assoc))

    assoc = new_ae(server.own_ae_title).associate(
        address,
        server.port,
        contexts=list(contexts),
        ae_title=server.ae_title,
        max_pdu=PDU_BYTES,
        ext_neg=list(roles),
        tls_args=tls,
        evt_handlers=[(evt.EVT_CONN_OPEN, on_open), *handlers],
    )
    guard.alive()
    if not assoc.is_established:
        raise _refusal(server, assoc, bool(opened))
    finished = False
    try:
        yield assoc
        finished = True
    finally:
        if finished and assoc.is_established:
            assoc.release()
        else:
            drop(assoc)


def lost(server: Server) -> NetworkError:
    """Return the error of a connection that broke."""
    return NetworkError(
        f"The connection to {server.name} broke.", hint="Try again; what has arrived is kept.", code="E_CONNECTION_LOST"
    )


def drop(assoc: Association) -> None:
    """Close the connection at once; a polite abort would wait for the peer."""
    transport = assoc.dul.socket
    sock = transport.socket if transport is not None else None
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _resolve(server: Server) -> str:
    try:
        return str(socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise NetworkError(
            f"The name {server.host} is not known in this network.",
            hint="Check the host name, and whether the network or VPN is up.",
            code="E_HOST",
        ) from error


def _refusal(server: Server, assoc: Association, opened: bool) -> NetworkError:
    if not opened:
        return _why_closed(server)
    if assoc.is_rejected:
        answer = assoc.acceptor.primitive
        reason = (int(answer.result_source or 1), int(answer.diagnostic or 1)) if answer is not None else (1, 1)
        hint = _REJECTION_HINTS.get(reason, "Ask whoever runs the server.")
        words = REJECTIONS.get(reason, f"it gives reason {reason[1]}")
        return NetworkError(f"{server.name} rejects the connection: {words}.", hint=hint, code="E_REJECTED")
    answer = assoc.acceptor.primitive
    if answer is not None and answer.result == 0:
        return NetworkError(
            f"{server.name} accepts none of the services asked for.",
            hint="Choose the other way of fetching in its settings, or DICOMweb.",
            code="E_NO_SERVICE",
        )
    return NetworkError(
        f"{server.name} takes the connection but does not answer as a DICOM server within {CONNECT_S:.0f} s.",
        hint="Check the port; a web server or a server that wants TLS answers like this.",
        code="E_NO_ANSWER",
    )


def _why_closed(server: Server) -> NetworkError:
    """Try the connection once more without DICOM, and say what is in the way."""
    try:
        with socket.create_connection((server.host, server.port), timeout=3.0) as raw:
            if server.tls:
                with server.tls_context().wrap_socket(raw, server_hostname=server.host):
                    pass
    except ssl.SSLError as error:
        return tls_error(server.name, error)
    except ConnectionRefusedError:
        return NetworkError(
            f"Nothing listens at {server.host} port {server.port}.",
            hint="Check the port, and whether the server runs.",
            code="E_REFUSED",
        )
    except ConnectionResetError:
        text, code = f"{server.name} closes the connection at once.", "E_CONNECTION_LOST"
        return NetworkError(text, hint="It may want TLS, or know us under another address.", code=code)
    except OSError:
        return NetworkError(
            f"{server.host} cannot be reached.",
            hint="Check the host, the network or VPN, and the firewall.",
            code="E_UNREACHABLE",
        )
    return lost(server)


def tls_error(name: str, error: ssl.SSLError) -> NetworkError:
    """Return why a secure connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkError(
            f"The certificate of {name} is not trusted: {error.verify_message}.",
            hint="Choose the authority's certificate in the settings of the server, or have the server's renewed.",
            code="E_TLS",
        )
    return NetworkError(
        f"No secure connection to {name} could be made: {(error.reason or 'no TLS').replace('_', ' ').lower()}.",
        hint="Check whether the server speaks TLS on this port.",
        code="E_TLS",
    )
