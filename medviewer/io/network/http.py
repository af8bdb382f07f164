"""Requests to one origin: no other host, no downgrade, no unbounded answer, every fault with a name."""

from __future__ import annotations

import ssl
import time
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import NameResolutionError

from medviewer.io.network.association import quiet_logs, tls_error
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.guard import ANSWER_S, CONNECT_S, Guard
from medviewer.io.network.servers import Server

MAX_JSON_BYTES: Final = 64 << 20
_MAX_REDIRECTS: Final = 3
_CHUNK: Final = 256 << 10
_PORTS: Final = {"http": 80, "https": 443}

#: What an HTTP status means to a user, and what to do.
FAULTS: Final = {
    400: ("does not understand the request", "Ask whoever runs the server."),
    401: ("wants a user name and password, or does not take those it got", "Correct them in its settings."),
    403: ("does not let this user in", "Ask whoever runs the server for permission."),
    404: ("has nothing at this address", "Check the address of the service; the object may have been deleted."),
    406: ("cannot give the objects in the form asked for", "Ask whoever runs the server."),
    409: ("does not take the object", "Ask whoever runs the server."),
    413: ("finds the request too large", "Send fewer objects, or ask whoever runs the server."),
    415: ("does not take objects of this kind", "Ask whoever runs the server."),
    429: ("is asked too often", "Wait a minute and try again."),
    500: ("has a fault of its own", "Try again later, or ask whoever runs the server."),
    502: ("is not reachable behind its gateway", "Try again later."),
    503: ("is busy or being maintained", "Try again later."),
    504: ("did not answer its gateway in time", "Try again later."),
}


def http_error(server: Server, code: str, words: str, hint: str = "Ask whoever runs the server.") -> NetworkError:
    """Return a fault of a DICOMweb server."""
    return NetworkError(f"{server.name} {words}.", hint=hint, code=code)


def status_error(server: Server, status: int) -> NetworkError:
    """Return the refusal that an HTTP status means."""
    words, hint = FAULTS.get(status, (f"answers with HTTP status {status}", "Ask whoever runs the server."))
    return http_error(server, f"E_HTTP_{status}", words, hint)


class _TlsAdapter(HTTPAdapter):
    """Speaks TLS by one context, without adding authorities of its own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave it to the context."""


class OneOriginSession(requests.Session):
    """A session with one service.

    Every answer is read whole, up to `most` bytes after any decompression, before it is given away.

    Parameters
    ----------
    server : Server
        Its `url` is the only origin; its credentials are sent there only.
    guard : Guard
    """

    def __init__(self, server: Server, guard: Guard) -> None:
        super().__init__()
        quiet_logs()
        self.server = server
        self.most = MAX_JSON_BYTES
        self._guard = guard
        self.trust_env = False  # no proxy and no .netrc that the user did not enter here
        self.headers["Accept-Encoding"] = "identity"
        if server.url.lower().startswith("https:"):
            self.mount("https://", _TlsAdapter(server.tls_context()))
        if server.auth == "basic":
            self.auth = HTTPBasicAuth(server.user.encode("utf-8"), server.secret.encode("utf-8"))
        elif server.auth == "bearer":
            self.headers["Authorization"] = f"Bearer {server.secret}"
        guard.on_stop(self.close)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow none by itself; `send` does, after a look at where it leads."""
        return None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request and read the answer; refusals and faults are raised as `NetworkError`."""
        for _ in range(_MAX_REDIRECTS + 1):
            # A star needs no escape (RFC 3986 section 3.4), and some servers know it as a wildcard only without.
            url = (request.url or "").replace("%2A", "*")
            request.url = url
            self._check_origin(url)
            request.headers.pop("Host", None)
            response = self._sent(request, {**kwargs, "stream": True, "timeout": (CONNECT_S, ANSWER_S)})
            target = response.headers.get("location") if 300 <= response.status_code < 400 else None
            if target is None:
                break
            response.close()
            if request.method != "GET":
                raise http_error(self.server, "E_HTTP_REDIRECT", "sends us elsewhere with an object in hand")
            request = request.copy()
            request.prepare_url(urljoin(url, target), None)
        else:
            raise http_error(
                self.server, "E_HTTP_REDIRECT", "sends us in a circle", "Check the address of the service."
            )
        if not 200 <= response.status_code < 300:
            response.close()
            raise status_error(self.server, response.status_code)
        return response

    def _sent(self, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> requests.Response:
        self._guard.alive()
        try:
            response = super().send(request, **kwargs)
            if 200 <= response.status_code < 300:
                # What `Response.content` would do, with a limit.
                response._content = self._body(response)
                response._content_consumed = True
        except requests.exceptions.SSLError as error:
            raise self._secure(error) from None
        except requests.exceptions.ConnectTimeout:
            raise http_error(
                self.server,
                "E_UNREACHABLE",
                "cannot be reached",
                "Check the host, the network or VPN, and the firewall.",
            ) from None
        except requests.exceptions.Timeout:
            words = f"has not answered for {ANSWER_S:.0f} s"
            raise http_error(self.server, "E_TIMEOUT", words, "Try again later.") from None
        except requests.exceptions.ChunkedEncodingError:
            raise http_error(
                self.server, "E_HTTP_TRUNCATED", "broke off in the middle of an answer", "Try again; nothing is lost."
            ) from None
        # From None throughout: the library's texts hold the address, which holds what was searched for.
        except (requests.exceptions.RequestException, OSError) as error:
            self._guard.alive()
            if _cause(error, NameResolutionError) is not None:
                host = urlsplit(self.server.url).hostname
                raise NetworkError(
                    f"The name {host} is not known in this network.",
                    hint="Check the address, and whether the network or VPN is up.",
                    code="E_HOST",
                ) from None
            raise http_error(
                self.server, "E_UNREACHABLE", "cannot be reached or broke the connection",
                "Check the address, the network or VPN, and whether the server runs.",
            ) from None  # fmt: skip
        return response

    def _body(self, response: requests.Response) -> bytes:
        """Read an answer in pieces, so that it can be stopped and never outgrows its limit."""
        body = bytearray()
        end = time.monotonic() + max(ANSWER_S, self.most / 100_000)
        for piece in response.iter_content(_CHUNK):
            self._guard.alive()
            body += piece
            if len(body) > self.most:
                response.close()
                raise http_error(self.server, "E_HTTP_TOO_LARGE", "answers with more than can be meant")
            if time.monotonic() > end:
                response.close()
                raise http_error(self.server, "E_TIMEOUT", "answers too slowly", "Try again later.")
        return bytes(body)

    def _check_origin(self, url: str) -> None:
        asked, own = _origin(url), _origin(self.server.url)
        if asked == own:
            return
        if own[0] == "https" and asked[0] == "http":
            raise http_error(self.server, "E_TLS", "wants to go on without encryption; that is refused")
        raise http_error(self.server, "E_HTTP_ORIGIN", "points to another place; nothing was sent there")

    def _secure(self, error: requests.exceptions.SSLError) -> NetworkError:
        """Return what the TLS layer said."""
        cause = _cause(error, ssl.SSLError)
        return tls_error(self.server.name, cause if isinstance(cause, ssl.SSLError) else ssl.SSLError())


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the error of a kind that the libraries have wrapped several times."""
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None or isinstance(cause, kind):
            return cause
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None) or cause.__cause__
        cause = inner if isinstance(inner, BaseException) else None
    return None


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)
    except ValueError:
        return "", "", 0
