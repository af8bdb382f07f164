"""What comes over the network: who may send, transfers that break, servers that are not who they claim to be."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import trustme
from pydicom import dcmread

from medviewer.io.dicom_scan import scan
from medviewer.io.network import association, dicomweb, dimse, guard
from medviewer.io.network.errors import IncompleteError, NetworkError
from medviewer.io.network.inbox import Inbox
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.query import InstanceRow, QueryFields
from medviewer.io.network.retrieve import retrieve
from medviewer.io.network.scp import StoreScp
from medviewer.io.network.servers import Server
from medviewer.io.network.services import services
from medviewer.jobs.job import JobCancelled
from medviewer.phantoms import spheres_volume, write_series
from tests.pacs_kit import ORTHANC, Orthanc, Proxy, body, free_port, orthanc_server, web_server
from tests.pacs_peers import (
    CT,
    CTX,
    Cancelled,
    changed,
    code_of,
    dimse_at,
    flood,
    json_reply,
    push,
    redirect_to,
    reply_with,
    send,
    tls_cases,
    web_at,
)  # fmt: skip
from tools.bar.bar import MB, Bench, Figure, row

#: UIDs that would be paths, commands or formulas if anything took them for more than names.
HOSTILE = (
    "../../x", "..", "/etc/x", "C:\\x", "CON", "; rm -rf x", "-rf", "=cmd()", "%2e%2e%2fx", "~/.ssh/x",
)  # fmt: skip


@row("R-27", "nobody sends us what was not asked for")
def only_the_invited_send(bench: Bench) -> Figure:
    """Attack the listener of a C-MOVE; nothing listens before and after it."""
    folder = bench.folder / "scp"
    (path,) = write_series(spheres_volume(), folder / "sent")[:1]
    wanted = _rows([path])
    server = dimse_at(104, listen_port=free_port())
    port = server.listen_port
    quarantine = Quarantine(folder / "quarantine")
    inbox = Inbox(folder / "in", wanted[0].study_instance_uid, wanted, quarantine=quarantine)
    checks = {"closed before": _is_closed(port)}
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        checks["127.0.0.1 only"] = _listening(port) == {"127.0.0.1"}
        checks["unknown calling AE"] = "does not know our AE title" in send(port, path, "STRANGER", "US")
        checks["wrong called AE"] = "not called by the AE title" in send(port, path, "PACS", "OTHER")
        other = changed(path, folder / "other.dcm", StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4")
        checks["unasked refused"] = "0x0124" in send(port, other, "PACS", "US")
        checks["unasked kept apart"] = quarantine.count == 1 and not list((folder / "in").rglob("*.dcm"))
        grown = flood(port, 20 if bench.sample else 200) / MB
    checks["closed after"] = _is_closed(port)
    checks["other address"] = _is_hung_up_on(folder, wanted, path)
    safe = _safe_of(folder / "hostile", path)
    checks["quota stops"] = _quota_stops(folder)
    failed = [name for name, passed in checks.items() if not passed]
    text = f"{len(checks) - len(failed)}/{len(checks)} attacks fail, {safe}/{len(HOSTILE)} hostile UIDs stay inside"
    text = f"{text}, RSS +{grown:.0f} MB {failed or ''}".strip()
    return Figure(text, not failed and safe == len(HOSTILE) and grown < 100)


def _rows(files: list[Path]) -> list[InstanceRow]:
    found = []
    for path in files:
        header = dcmread(path, stop_before_pixels=True)
        uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
        found.append(_row(*map(str, uids)))
    return found


def _row(study: str, series: str, instance: str) -> InstanceRow:
    return InstanceRow(
        study_instance_uid=study, series_instance_uid=series, sop_instance_uid=instance, sop_class_uid=CT
    )


def _is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


def _listening(port: int) -> set[str]:
    connections = psutil.Process().net_connections()
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port}


def _is_hung_up_on(folder: Path, wanted: list[InstanceRow], path: Path) -> bool:
    """Whether a caller from an address that is not the server's gets nowhere."""
    elsewhere = dimse_at(104, host="192.0.2.1", listen_port=free_port())
    inbox = Inbox(folder / "elsewhere", wanted[0].study_instance_uid, wanted)
    with StoreScp(elsewhere, inbox, [CT], guard.Guard(CTX)) as scp:
        said = send(elsewhere.listen_port, path, "PACS", "US")
    return said.startswith("E_") and inbox.present == 0 and scp.strangers == {"127.0.0.1"}


def _safe_of(folder: Path, path: Path) -> int:
    """Push objects with hostile UIDs that the server itself listed; return how many land by a harmless name, or not."""
    root = folder / "root" / "in"
    folder.mkdir()
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(root, "..", [_row(uid, uid, uid) for uid in HOSTILE])
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        for n, uid in enumerate(HOSTILE):
            uids = {"StudyInstanceUID": uid, "SeriesInstanceUID": uid, "SOPInstanceUID": uid}
            push(server.listen_port, changed(path, folder / f"{n}.dcm", **uids))
    made = {entry for entry in folder.rglob("*") if entry.parent != folder and not root.is_relative_to(entry)}
    names = {part for entry in made for part in entry.relative_to(root).parts}
    harmless = all(name.replace("-", "").replace(".", "").isalnum() for name in names)
    inside = harmless and all(entry.resolve().is_relative_to(root) for entry in made)
    # One cannot be said in DICOM at all: its backslash makes two values of it.
    return len(HOSTILE) if inside and inbox.present == len(HOSTILE) - 1 else inbox.present


def _quota_stops(folder: Path) -> bool:
    files = write_series(spheres_volume(), folder / "many")[:10]
    rows = _rows(files)
    quota = 3 * files[0].stat().st_size + 1000
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(folder / "small", rows[0].study_instance_uid, rows, quota=quota)
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        said = [send(server.listen_port, path, "PACS", "US") for path in files]
    written = sum(path.stat().st_size for path in (folder / "small").rglob("*.dcm"))
    return said.count("arrived") == 3 and written <= quota and bool(inbox.failure)


@row("R-28", "transfers that break are marked and resumed bit-identical")
def transfers_break_well(bench: Bench) -> Figure:
    """Cut transfers from a real server at random places, by C-GET, C-MOVE and WADO; cancel some; meet web faults."""
    named = sum(_is_named(reply) for reply in _faults())
    if not ORTHANC.exists():
        return Figure(f"Orthanc is not installed: no transfer was cut; {named} HTTP faults named", right=False)
    folder = bench.folder / "network"
    folder.mkdir()
    files = write_series(spheres_volume(), folder / "series")
    bodies = {body(path) for path in files}
    study = _rows(files[:1])[0].study_instance_uid
    chosen = random.Random(28)
    cuts = 3 if bench.sample else 40
    marked = whole = broken = 0
    with orthanc_server(folder) as orthanc:
        orthanc.upload(files)
        for n in range(cuts):
            place = folder / f"cut-{n}"
            way = ("get", "move", "web")[n % 3]
            broken += _cut(orthanc, way, chosen.randrange(500, 330_000), study, place)
            marked += _is_marked(place, len(files))
            result = retrieve(CTX, _server(orthanc, way), study, place)
            found = [path for whole_folder in result.folders for path in whole_folder.glob("*.dcm")]
            whole += {body(path) for path in found} == bodies and not _incomplete(place)
        slowest = max(_cancel_s(orthanc, way, study, folder / f"cancel-{way}") for way in ("get", "move", "web"))
    waits = "" if bench.sample else f", silence ends after {_silence_s():.0f} s"
    text = f"{marked}/{cuts} partial marked ({broken} broke), {whole}/{cuts} resumed bit-identical"
    text += f", cancel {slowest:.2f} s{waits}, {named}/{len(_faults())} HTTP faults named"
    right = marked == whole == cuts and named == len(_faults()) and broken > cuts // 2
    return Figure(text, right, slowest <= 1)


def _server(orthanc: Orthanc, way: str) -> Server:
    return orthanc.web() if way == "web" else orthanc.dimse(fetch=way)


def _cut(orthanc: Orthanc, way: str, after: int, study: str, place: Path) -> bool:
    """Fetch through a proxy that cuts; return whether the transfer broke."""
    plain = _server(orthanc, way)
    listen = free_port()
    # In a C-MOVE the objects come over the connection that the server opens to us: that one is cut.
    target = {"get": orthanc.dicom, "move": listen, "web": orthanc.http}[way]
    with Proxy(target, listen=orthanc.listen if way == "move" else 0) as proxy:
        if way == "move":
            proxy.cut_from_client = after
        else:
            proxy.cut_after = after
        cut = {
            "get": replace(plain, port=proxy.port),
            "move": replace(plain, listen_port=listen),
            "web": replace(plain, url=f"http://127.0.0.1:{proxy.port}/dicom-web"),
        }[way]
        try:
            retrieve(CTX, cut, study, place)
        except IncompleteError as error:
            return error.text.startswith(f"INCOMPLETE {error.present}/")
        except NetworkError:
            return True
    return False


def _incomplete(place: Path) -> list[bool]:
    """Return of each series that can be opened below a folder whether it says that it is incomplete."""
    if not place.exists():
        return []
    series = [one for study in scan(CTX, [place]).studies for one in study.series]
    marks = [any(warning.code == "W_INCOMPLETE" for warning in one.warnings) for one in series]
    return marks if any(marks) else []


def _is_marked(place: Path, count: int) -> bool:
    """Whether what lies there is nothing, all of it, or marked as a part."""
    present = len(list(place.rglob("*.dcm")))
    marks = _incomplete(place)
    return not marks if present in (0, count) else bool(marks) and all(marks)


def _cancel_s(orthanc: Orthanc, way: str, study: str, place: Path) -> float:
    """Return how long a cancelled retrieve over a slow line goes on."""
    with Proxy(orthanc.http if way == "web" else orthanc.dicom, pause_s=0.1) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/dicom-web"
        plain = _server(orthanc, way)
        slow = replace(plain, url=url) if way == "web" else replace(plain, port=proxy.port)
        asked = 0.6
        start = time.monotonic()
        with contextlib.suppress(JobCancelled):
            retrieve(Cancelled(asked), slow, study, place)
        return max(0.0, time.monotonic() - start - asked)


def _silence_s() -> float:
    """Return how long a server may say nothing, by the way that takes longer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        longest = 0.0
        for ask in (lambda: dimse.echo(CTX, dimse_at(port)), lambda: dicomweb.echo(CTX, web_at(port))):
            start = time.monotonic()
            code_of(ask)
            longest = max(longest, time.monotonic() - start)
    return longest


def _faults() -> list[Callable[..., None]]:
    """Return twelve ways in which a web server can be of no use."""

    def status(number: int) -> Callable[..., None]:
        return lambda request: request.send_error(number)

    json = "application/dicom+json"
    return [
        *(status(number) for number in (400, 401, 403, 404, 413, 429, 500, 503)),
        redirect_to("/dicom-web/studies?again"),
        redirect_to("http://127.0.0.1:1/elsewhere"),
        reply_with(b"<html>Sign in</html>", "text/html"),
        reply_with(b"[]", json, length=5000),
    ]


def _is_named(reply: Callable[..., None]) -> bool:
    with web_server(reply) as port:
        code = code_of(lambda: dicomweb.find_studies(CTX, web_at(port), QueryFields()))
    return code.startswith(("E_HTTP_", "E_UNREACHABLE"))


@row("R-29", "servers that are not who they claim to be are refused")
def impostors_are_refused(bench: Bench) -> Figure:
    """Offer four wrong certificates and a good one, over HTTPS and over DIMSE with TLS."""
    folder = bench.folder / "tls"
    folder.mkdir()
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    refused: dict[str, int] = {}
    good: dict[str, bool] = {}
    for way, asks in (("HTTPS", _ask_https), ("DIMSE", _ask_dimse)):
        found = dict(asks(authority, str(ca_file)))
        good[way] = found.pop("good") == ""
        refused[way] = sum(code in ("E_TLS", "E_UNREACHABLE") for code in found.values())
    text = ", ".join(f"{way}: {refused[way]}/4 refused, good {'works' if good[way] else 'FAILS'}" for way in refused)
    return Figure(text, all(count == 4 for count in refused.values()) and all(good.values()))


def _answer(server: Server) -> str:
    """Return the code of the refusal when a server is asked whether it is there; empty when it answers."""
    try:
        services(server).echo(CTX, server)
    except NetworkError as error:
        return error.code
    return ""


def _ask_https(authority: trustme.CA, ca_file: str) -> Iterator[tuple[str, str]]:
    for case, context in tls_cases(authority).items():
        with web_server(json_reply, context) as port:
            yield case, _answer(web_at(port, "https", ca_file=ca_file))


def _ask_dimse(authority: trustme.CA, ca_file: str) -> Iterator[tuple[str, str]]:
    for case, context in tls_cases(authority).items():
        ae = association.new_ae("PACS")
        ae.add_supported_context(dimse.VERIFICATION)
        listener = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context)
        assert listener is not None
        try:
            yield case, _answer(dimse_at(listener.server_address[1], tls=True, ca_file=ca_file))
        finally:
            listener.shutdown()
