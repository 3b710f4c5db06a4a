"""What a body prints, warns and logs, told apart from what others do at the same time.

`PythonCapture` serves the process of the user: all that appears there still does, and a copy goes to the body that it
comes from. `DescriptorCapture` serves worker processes of our own, where nobody watches: it also gets what C code and
child processes write. Both are used alike::

    with capture:                     # once per run, or for the life of a worker
        record = capture.task()       # for each body
        with record: ...              # once, or step by step: what a generator does is one text
        record.captured()

What belongs to which body:

* In the process of the user a context variable tells; code that runs in threads or tasks of asyncio which carry the
  context on is known by it. A thread that a body has started otherwise belongs to that body if no other runs when the
  thread first prints; else its text belongs to nobody.
* In a worker one body runs at a time, and all that is written meanwhile is its own.
* A run inside a body: what an inner body prints belongs to the inner one (in a worker, to the outer one as well).

A text of more than `LIMIT` characters keeps its beginning and its end.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO
from weakref import WeakKeyDictionary

__all__ = ["LIMIT", "SHOW_CAPTURE", "Captured", "DescriptorCapture", "PythonCapture", "belongs_to_nobody"]

LIMIT = 1_000_000
"""How many characters of each kind are kept of one body."""

SHOW_CAPTURE = ("no", "stdout", "stderr", "log", "all")
"""What of it can be asked for."""

_HALF = LIMIT // 2
_MOST_WARNINGS = 1000
_MOST_WIDE = 1000  # characters of a line in a summary

_seek = os.lseek

Warned = tuple[str, str, str, int]
"""Name of the category, message, file, line."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What one body has printed, warned and logged; false if that is nothing.

    Attributes
    ----------
    stdout, stderr : str
    warnings : tuple of (str, str, str, int)
        Name of the category, message, file, line.
    logs : tuple of str
        Log records as text: time, level, logger, message.
    """

    stdout: str = ""
    stderr: str = ""
    warnings: tuple[Warned, ...] = ()
    logs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.stdout or self.stderr or self.warnings or self.logs)

    def sections(self, which: str = "all") -> list[tuple[str, str]]:
        """Return (name, text) of each kind of which there is something.

        Parameters
        ----------
        which : one of `SHOW_CAPTURE`
            Warnings belong to "stderr", where Python prints them.
        """
        found = []
        if which in ("stdout", "all"):
            found.append(("stdout", self.stdout))
        if which in ("stderr", "all"):
            found.append(("stderr", self.stderr))
            lines = [
                f"{category}: {message}" + (f" ({file}:{line})" if file else "")
                for category, message, file, line in self.warnings
            ]
            found.append(("warnings", "\n".join(lines)))
        if which in ("log", "all"):
            found.append(("log", "\n".join(self.logs)))
        return [(name, text) for name, text in found if text]

    def text(self, which: str = "all") -> str:
        """Return all of it under headlines, a line break at the end; empty if there is nothing."""
        parts = []
        for name, text in self.sections(which):
            parts += [f"----- {name} -----", text.rstrip("\n")]
        return "\n".join([*parts, ""]) if parts else ""

    def last_lines(self, which: str = "all", most: int = 20) -> list[str]:
        """Return the last lines of each kind under headlines, for a summary."""
        found = []
        for name, text in self.sections(which):
            lines = text.rstrip("\n").split("\n")
            left_out = f", last {most} of {len(lines)} lines" if len(lines) > most else ""
            found.append(f"----- captured {name}{left_out} -----")
            found += [_as_seen(line) for line in lines[-most:]]
        return found


def _as_seen(line: str) -> str:
    """Return what a terminal would show of a line at the end: progress bars write over themselves."""
    line = line.rstrip("\r").rpartition("\r")[2]
    return line if len(line) <= _MOST_WIDE else f"{line[: _MOST_WIDE - 4]} ..."


NOTHING = Captured()


# ---- what is kept of one body


class _Kept:
    """Beginning and end of what comes in piece by piece; what lies between is dropped."""

    __slots__ = ("dropped", "first", "last", "room", "size")

    def __init__(self) -> None:
        self.first: list[str] = []
        self.room = _HALF
        self.last: deque[str] = deque()
        self.size = 0  # of `last`
        self.dropped = 0

    def add(self, piece: str) -> None:
        length = len(piece)
        if length <= self.room:
            self.first.append(piece)
            self.room -= length
            return
        self.room = -1
        self.last.append(piece)
        self.size += length
        while self.size - len(self.last[0]) >= _HALF:
            self.skip(len(self.last[0]))
            self.size -= len(self.last.popleft())

    def skip(self, length: int) -> None:
        """Note that so much of what came in is not kept; what comes now belongs to the end."""
        self.room = -1
        self.dropped += length

    def text(self) -> str:
        end = "".join(self.last)
        dropped = self.dropped + max(0, len(end) - _HALF)
        return "".join(self.first) + (_left_out(dropped) if dropped else "") + end[-_HALF:]

    def entries(self) -> tuple[str, ...]:
        note = (_left_out(self.dropped).strip(),) if self.dropped else ()
        return (*self.first, *note, *self.last)


def _left_out(count: int) -> str:
    return f"\n... {count} characters left out ...\n"


class _Record:
    """What one body has done so far; a ``with`` block for each of its steps."""

    __slots__ = ("_kept", "_more_warnings", "_token", "_warnings")

    watched = True  # somebody sees at once what is printed

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] | None = None  # made when there is something: most bodies are silent
        self._warnings: list[Warned] | None = None
        self._more_warnings = 0

    def __enter__(self) -> None:
        self._token: Token[_Record | None] = _CURRENT.set(self)
        _running.add(self)

    def __exit__(self, *exception: object) -> None:
        _running.discard(self)
        _CURRENT.reset(self._token)

    def add(self, kind: str, piece: str) -> None:
        """Take a piece of "stdout", "stderr" or "log"."""
        if piece:
            self.kept(kind).add(piece)

    def kept(self, kind: str) -> _Kept:
        if self._kept is None:
            self._kept = {}
        found = self._kept.get(kind)
        return found if found is not None else self._kept.setdefault(kind, _Kept())

    def add_warning(self, message: Any, category: type[Warning], file: str, line: int) -> None:
        if self._warnings is None:
            self._warnings = []
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings.append((category.__name__, _worded(message), file, line))
        else:
            self._more_warnings += 1

    def captured(self) -> Captured:
        """Return all there is up to now."""
        if self._kept is None and self._warnings is None:
            return NOTHING
        kept = self._kept or {}
        warned = self._warnings or []
        if self._more_warnings:
            warned = [*warned, ("Warning", f"... and {self._more_warnings} more", "", 0)]
        return Captured(
            kept["stdout"].text() if "stdout" in kept else "",
            kept["stderr"].text() if "stderr" in kept else "",
            tuple(warned),
            kept["log"].entries() if "log" in kept else (),
        )


class _Nobody(_Record):
    """Stands for the body while something is shown that is in its record already."""

    __slots__ = ()

    def add(self, kind: str, piece: str) -> None:
        pass

    def add_warning(self, message: Any, category: type[Warning], file: str, line: int) -> None:
        pass


def _worded(message: Any) -> str:
    try:
        return str(message)
    except Exception as error:  # noqa: BLE001  (told in its place: a warning must not end the body)
        return f"(its text raised {type(error).__name__})"


_NOBODY = _Nobody()
_CURRENT: ContextVar[_Record | None] = ContextVar("d6tpipe_captured", default=None)
_running: set[_Record] = set()
_threads: WeakKeyDictionary[threading.Thread, _Record | None] = WeakKeyDictionary()
"""Threads that do not carry the context of a body, and whose text theirs is."""


def _current() -> _Record | None:
    """Return the record of the body that the calling code belongs to."""
    record = _CURRENT.get()
    if record is not None or not _running:
        return record
    thread = threading.current_thread()
    if thread not in _threads and len(_running) == 1:
        _threads[thread] = next(iter(_running.copy()), None)
    return _threads.get(thread)


def belongs_to_nobody() -> None:
    """Have what this thread prints count as that of no body, though one may run when the thread begins."""
    _threads[threading.current_thread()] = None


# ---- what is replaced in the process


class _Layer:
    """One attribute of somebody else, replaced for as long as anybody captures."""

    __slots__ = ("name", "original", "owner", "replacement", "users")

    def __init__(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        self.owner, self.name = owner, name
        self.original = getattr(owner, name)
        self.replacement = make(self.original)
        self.users = 1


_layers: list[_Layer] = []
_guard = threading.RLock()


def _put(owner: Any, name: str, make: Callable[[Any], Any]) -> _Layer:
    """Replace an attribute, unless it is replaced already."""
    with _guard:
        present = getattr(owner, name)
        for layer in _layers:
            if layer.replacement is present:
                layer.users += 1
                return layer
        layer = _Layer(owner, name, make)
        setattr(owner, name, layer.replacement)
        _layers.append(layer)
        return layer


def _take(layer: _Layer) -> None:
    """Put back what was there, if nobody needs the replacement any more."""
    with _guard:
        layer.users -= 1
        # If somebody has put something of theirs over it, it has to stay below that; it passes everything on.
        if not layer.users and getattr(layer.owner, layer.name) is layer.replacement:
            setattr(layer.owner, layer.name, layer.original)
            _layers.remove(layer)


class _Tee:
    """A text stream that also tells the current body what is written; else it is the stream below it."""

    def __init__(self, stream: Any, kind: str) -> None:
        object.__setattr__(self, "_stream", stream)
        object.__setattr__(self, "_kind", kind)

    def write(self, text: str) -> Any:
        record = _current()
        if record is None or record is _NOBODY:
            return self._stream.write(text)
        # Below may be another of these, or a progress bar that prints through one.
        token = _CURRENT.set(_NOBODY)
        try:
            written = self._stream.write(text)
        finally:
            _CURRENT.reset(token)
        record.add(self._kind, text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # IPython puts a function of its own over `write`, which calls what was there: this one, not that below it.
        if name in ("write", "writelines"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._stream, name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # Libraries ask what kind of stream this is, to tell a notebook from a terminal, text from bytes.
        return type(self._stream)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _stream_of, (self._kind,)  # as cloudpickle does with the standard streams


def _stream_of(kind: str) -> Any:
    return getattr(sys, kind)


def _show_warning(original: Any) -> Any:
    def showwarning(
        message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        record = _current()
        if record is None:
            original(message, category, filename, lineno, file, line)
            return
        record.add_warning(message, category, filename, lineno)
        if not record.watched:
            return
        token = _CURRENT.set(_NOBODY)  # what is printed of it now is not printed by the body
        try:
            original(message, category, filename, lineno, file, line)
        finally:
            _CURRENT.reset(token)

    return showwarning


_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def _call_handlers(original: Any) -> Any:
    # Not a handler of the root logger: while it has one, logging.basicConfig() does nothing, and warnings of loggers
    # without a handler are not printed.
    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:
        body = _current()
        if body is None or body is _NOBODY:
            original(self, record)
            return
        body.add("log", _formatted(record))
        if not body.watched and not self.hasHandlers():
            return  # it would be printed, for nobody
        token = _CURRENT.set(_NOBODY)
        try:
            original(self, record)
        finally:
            _CURRENT.reset(token)

    return callHandlers


def _formatted(record: logging.LogRecord) -> str:
    try:
        text = _FORMAT.format(copy.copy(record))  # a copy: formatting leaves marks that other handlers would see
    except Exception as error:  # noqa: BLE001  (told in its place, as logging does: it must not end the body)
        return f"{record.levelname} {record.name}: {record.msg!r:.200} (its text raised {type(error).__name__})"
    return text if len(text) <= _HALF else text[:_HALF] + _left_out(len(text) - _HALF).rstrip()


# ---- in the process of the user


class PythonCapture:
    """Captures what Python code writes, in the process of the user, where everything goes on being shown.

    Bodies may run in several threads. Filters of warnings stay as they are: a warning is recorded when it is shown.
    What does not come through ``sys.stdout`` and ``sys.stderr`` (C code, child processes) is shown and not recorded.
    """

    def __init__(self) -> None:
        self._put: list[_Layer] = []

    def __enter__(self) -> PythonCapture:
        if not _running:
            for thread in threading.enumerate():
                _threads.setdefault(thread, None)  # was there before any body
        for kind in ("stdout", "stderr"):
            if getattr(sys, kind) is not None:
                self._put.append(_put(sys, kind, lambda stream, kind=kind: _Tee(stream, kind)))  # type: ignore[misc]
        self._put.append(_put(warnings, "showwarning", _show_warning))
        self._put.append(_put(logging.Logger, "callHandlers", _call_handlers))
        return self

    def __exit__(self, *exception: object) -> None:
        while self._put:
            _take(self._put.pop())

    def task(self) -> _Record:
        """Return the record of one body."""
        return _Record()


# ---- in a worker process


class DescriptorCapture:
    """Captures all that is written to descriptors 1 and 2 of this process, for one body at a time.

    The descriptors lead to files without a name, which are empty when a body starts: what is in them after it, or when
    the process has died, is of that body. (Between two places of a growing file its text could not be found: ``echo ...
    > /dev/stderr`` in a shell makes the file empty first.) Warnings that were shown to an earlier body of the process
    are recorded again for the next one.

    Parameters
    ----------
    files : pair of int, optional
        Descriptors of files to write to, open for reading and appending, that outlive this process: for looking into
        them when it has crashed. By default temporary ones.
    """

    def __init__(self, files: Sequence[int] | None = None) -> None:
        self._given = files is not None
        self._files = list(files or ())
        self._saved: list[tuple[int, int]] = []
        self._layers: list[_Layer] = []
        self._streams: list[TextIO] = []
        self._before: tuple[Any, Any] = (None, None)
        self._flush_c: Callable[[], Any] = int
        self._busy = False

    def __enter__(self) -> DescriptorCapture:
        _flush(sys.stdout, sys.stderr)
        self._flush_c = _c_flusher()
        self._flush_c()
        self._files = self._files or [_nameless_file(), _nameless_file()]
        for number, file in zip((1, 2), self._files, strict=True):
            self._saved.append((number, os.dup(number)))
            os.dup2(file, number)
            self._streams.append(_text_stream(number))
        self._before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._streams
        self._layers.append(_put(warnings, "showwarning", _show_warning))
        self._layers.append(_put(logging.Logger, "callHandlers", _call_handlers))
        return self

    def __exit__(self, *exception: object) -> None:
        _flush(*self._streams)
        self._flush_c()
        while self._layers:
            _take(self._layers.pop())
        sys.stdout, sys.stderr = self._before
        while self._saved:
            number, saved = self._saved.pop()
            os.dup2(saved, number)
            os.close(saved)
        self._streams.clear()
        if not self._given:
            for file in self._files:
                os.close(file)
            self._files.clear()

    def task(self) -> _Span:
        """Return the record of one body."""
        return _Span(self)

    # ---- for the records

    def begin(self) -> None:
        """Forget what was written between two bodies."""
        if self._busy:
            raise RuntimeError("DescriptorCapture serves one body at a time; in threads use PythonCapture")
        self._busy = True
        out, err = self._files
        if _seek(out, 0, 2):
            os.ftruncate(out, 0)
        if _seek(err, 0, 2):
            os.ftruncate(err, 0)

    def end(self, record: _Record) -> None:
        """Give `record` what was written since `begin`."""
        self._busy = False
        streams = self._streams
        if sys.stdout is not streams[0] or sys.stderr is not streams[1]:
            self._mend()
        try:
            streams[0].flush()
            streams[1].flush()
        except (ValueError, OSError):
            self._mend()
        self._flush_c()
        out, err = self._files
        size = _seek(out, 0, 2)
        if size:
            _move(out, size, record.kept("stdout"))
        size = _seek(err, 0, 2)
        if size:
            _move(err, size, record.kept("stderr"))

    def _mend(self) -> None:
        """Undo what a body has done to the streams: the next one is to find them as they were."""
        _flush(sys.stdout, sys.stderr, *self._streams)
        for number, stream in enumerate(self._streams, 1):
            if stream.closed:
                self._streams[number - 1] = _text_stream(number)
        sys.stdout, sys.stderr = self._streams


class _Span(_Record):
    """What one body of a worker has done so far."""

    __slots__ = ("_capture", "_filters")

    watched = False

    def __init__(self, capture: DescriptorCapture) -> None:
        self._kept = self._warnings = None
        self._more_warnings = 0
        self._capture = capture

    def __enter__(self) -> None:
        self._capture.begin()
        self._token = _CURRENT.set(self)
        _running.add(self)
        # Python forgets which warnings it has shown, and what the body does to the filters ends with it.
        self._filters = filters = warnings.catch_warnings()
        filters.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._filters.__exit__(None, None, None)
        _running.discard(self)
        _CURRENT.reset(self._token)
        self._capture.end(self)


def _flush(*streams: Any) -> None:
    for stream in streams:
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):  # none, closed, or of somebody who cannot write any more
            pass


def _text_stream(number: int) -> TextIO:
    # line by line, so that it mixes in the right order with what others write to the same descriptor
    return open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _nameless_file() -> int:
    """Return a descriptor of a new file that goes when nobody has it open any more."""
    descriptor, path = tempfile.mkstemp(prefix="d6tpipe-")
    os.close(descriptor)
    # Each write goes to the end, also after the file was emptied.
    opened = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_TEMPORARY", 0) | getattr(os, "O_BINARY", 0))
    if not hasattr(os, "O_TEMPORARY"):
        os.unlink(path)
    return opened


def _move(file: int, size: int, kept: _Kept) -> None:
    """Take the text out of a file, without reading what would be dropped."""
    if size <= LIMIT:
        kept.add(_text(file, 0, size))
    else:
        kept.add(_text(file, 0, _HALF))
        kept.skip(size - LIMIT)
        kept.add(_text(file, size - _HALF, size))
    os.ftruncate(file, 0)


def _text(file: int, start: int, stop: int) -> str:
    os.lseek(file, start, os.SEEK_SET)
    parts = []
    while start < stop:
        part = os.read(file, stop - start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts).decode("utf-8", "backslashreplace")


def _c_flusher() -> Callable[[], Any]:
    """Return a function that writes out what C code has printed and the C library still holds back."""
    try:
        import ctypes

        library = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        pointer = ctypes.c_void_p.in_dll(library, name)
        flush = library.fflush
        flush.argtypes = [ctypes.c_void_p]
    except (ImportError, OSError, TypeError, ValueError, AttributeError):  # no such library, no such names in it
        return int
    # This stream alone: to flush all waits for a thread that reads from another one.
    return partial(flush, pointer)
