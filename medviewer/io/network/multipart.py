"""The parts of a multipart/related answer.

References
----------
RFC 2046 section 5.1, RFC 2387; DICOM PS3.18 section 8.6.1.
"""

from __future__ import annotations

from email.message import Message

from medviewer.io.network.errors import NetworkError


def parts_of(content_type: str, body: bytes) -> list[bytes]:
    """Return the content of each part; one DICOM file that comes without an envelope is its own only part.

    Raises
    ------
    NetworkError
        ``E_HTTP_CONTENT`` when it is something else (a web page, say), ``E_HTTP_TRUNCATED`` when its end is missing.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "application/dicom":
        return [body]
    boundary = header.get_param("boundary")
    if not kind.startswith("multipart/") or not isinstance(boundary, str) or not boundary:
        raise _wrong(f"The server answers with {kind} where DICOM was asked for.")
    mark = b"--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 2:
        raise _wrong("The server's answer is not divided as it says it is.")
    if not pieces[-1].startswith(b"--"):
        raise NetworkError(
            "The server's answer is cut short.", hint="Resume to fetch what is missing.", code="E_HTTP_TRUNCATED"
        )
    contents = []
    for piece in pieces[1:-1]:
        _, blank, content = piece.partition(b"\r\n\r\n")
        if not blank:
            raise _wrong("A part of the server's answer has no end of its header.")
        contents.append(content)
    return contents


def _wrong(text: str) -> NetworkError:
    hint = "Check the address of the service; ask whoever runs the server."
    return NetworkError(text, hint=hint, code="E_HTTP_CONTENT")
