"""Build the context; set up log and crash file."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
from logging.handlers import RotatingFileHandler
from types import TracebackType
from typing import IO

from medviewer.app.context import AppContext
from medviewer.app.paths import data_dir, log_file, settings_file
from medviewer.app.settings import Settings
from medviewer.core.private import redacted
from medviewer.jobs.runner import Post
from medviewer.jobs.shared_array import sweep_blocks
from medviewer.plugin_host.registry import PluginRegistry

log = logging.getLogger("medviewer")
_crash_file: IO[str] | None = None


def discover_plugins() -> PluginRegistry:
    """Read the manifests of all plugins; imports none of them."""
    registry = PluginRegistry()
    registry.discover()
    return registry


def build_context(post: Post, *, journal: bool = True) -> AppContext:
    """Build the context from the user's settings and plugins."""
    sweep_blocks()
    return AppContext(post, Settings.load(settings_file()), discover_plugins(), journal=journal)


#: Libraries whose messages quote the values that they are about.
_QUOTING = ("pydicom", "pynetdicom", "highdicom", "nibabel", "dicomweb_client")


class _Redacting(logging.Formatter):
    """Writes records, tracebacks included, without values of patients."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def set_up_logging() -> None:
    """Log warnings to a file of bounded size in the data folder; a native crash leaves its stack beside it.

    The log holds no patient values: messages name files by what happened, tracebacks show code, not variables, and what
    an error quotes all the same is replaced.
    """
    global _crash_file
    handler = RotatingFileHandler(log_file(), maxBytes=1 << 20, backupCount=2, encoding="utf-8")
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in _QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _crash_file = (data_dir() / "crash.txt").open("a", encoding="utf-8")
    faulthandler.enable(_crash_file)


def set_up_excepthook(app: AppContext) -> None:
    """Unexpected exceptions are logged and shown; the program goes on."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.error("Unexpected error", exc_info=(kind, error, trace))
        app.post(lambda: app.messages.error(error))

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            report(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = report
    threading.excepthook = report_thread
