"""Formats that need the standard library only: pickle, JSON, text, bytes."""

from __future__ import annotations

import json
import os
import pickle
from typing import Any

from d6tpipe.errors import DeclarationError

__all__ = ["Bytes", "Json", "Pickle", "Text"]

_OPEN_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def _wrong_type(name: str, wanted: str, value: object, hint: str) -> DeclarationError:
    return DeclarationError(
        f"The {name} format saves {wanted}, not {type(value).__name__}",
        facts={"format": name, "got": f"{type(value).__module__}.{type(value).__qualname__}"},
        hint=hint,
    )


class _Raw:
    """A file without a buffer: the pickler hands over frames of 64 kB and large arrays as they are.

    ``open()`` asks the system three things that are known here; of a small file's cost that is a tenth.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: Any) -> int:
        written = os.write(self._descriptor, data)
        size = memoryview(data).nbytes
        if written != size:  # the system takes at most 2 GB at a time
            rest = memoryview(data).cast("B")[written:]
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return size


class Pickle:
    """Any picklable value; pickle protocol 5, which Python 3.8 and later read.

    Options go to ``pickle.dump`` and ``pickle.load``.
    """

    name = "pickle"
    suffix = "pkl"

    def save(self, value: Any, path: str, *, protocol: int = 5, **options: Any) -> None:
        descriptor = os.open(path, _OPEN_FLAGS, 0o666)
        try:
            pickle.dump(value, _Raw(descriptor), protocol, **options)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise DeclarationError(
                f"A value of type {type(value).__name__} cannot be pickled",
                facts={"format": self.name, "pickle said": f"{type(error).__name__}: {error}"},
                hint="Lambdas, local classes, open files, connections cannot be saved: save what is needed "
                "to make them again, or keep the value in memory with TaskCache.",
            ) from error
        finally:
            os.close(descriptor)

    def load(self, path: str, **options: Any) -> Any:
        with open(path, "rb") as file:
            return pickle.load(file, **options)


class Json:
    """What ``json.dump`` takes; what it has no form for comes back as JSON has it.

    Tuples come back as lists; keys that are numbers, True, False or None as text. To have them as they are, use
    the pickle format. The file holds ``{"data": value}``, indented by 4. Options go to ``json.dump`` and
    ``json.load``.
    """

    name = "json"
    suffix = "json"

    def save(self, value: Any, path: str, **options: Any) -> None:
        try:
            text = json.dumps({"data": value}, **{"indent": 4, **options})
        except (TypeError, ValueError, RecursionError) as error:
            raise DeclarationError(
                "JSON cannot hold this value",
                facts={"format": self.name, "json said": str(error)},
                hint="Convert it to dicts, lists, text and numbers first, or use the pickle format.",
            ) from error
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)

    def load(self, path: str, **options: Any) -> Any:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, **options)
        try:
            return content["data"]
        except (TypeError, KeyError):
            raise ValueError('the file holds JSON, but not {"data": ...}') from None


class Text:
    """A ``str``, UTF-8, line ends as they are. Options: ``encoding``, ``errors``."""

    name = "text"
    suffix = "txt"

    def save(self, value: Any, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> None:
        if not isinstance(value, str):
            raise _wrong_type(self.name, "a str", value, "Convert it with str() or json.dumps(), or use pickle.")
        try:
            data = value.encode(encoding, errors)
        except UnicodeError as error:
            raise DeclarationError(
                f"This text cannot be written as {encoding}",
                facts={"format": self.name, "codec said": error},
                hint="Remove the characters, or save with errors='surrogatepass' and load with the same.",
            ) from error
        _write_bytes(path, data)

    def load(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        # Not text mode: it would turn \r\n into \n.
        with open(path, "rb") as file:
            return file.read().decode(encoding, errors)


class Bytes:
    """A ``bytes`` object, as it is. No options."""

    name = "bytes"
    suffix = "bin"

    def save(self, value: Any, path: str) -> None:
        if not isinstance(value, bytes):
            raise _wrong_type(self.name, "bytes", value, "Convert it with bytes(), or use pickle.")
        _write_bytes(path, value)

    def load(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()


def _write_bytes(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
