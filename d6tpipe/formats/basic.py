"""Formats that need the standard library only: pickle, JSON, text, bytes."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from typing import Any

from d6tpipe.errors import DeclarationError

__all__ = ["Bytes", "Json", "Pickle", "Text"]


def _wrong_type(name: str, wanted: str, value: object, hint: str) -> DeclarationError:
    return DeclarationError(
        f"The {name} format saves {wanted}, not {type(value).__name__}",
        facts={"format": name, "got": f"{type(value).__module__}.{type(value).__qualname__}"},
        hint=hint,
    )


class _Streamed:
    """``save`` by way of ``dump``: these formats write from the first byte to the last."""

    dump: Callable[..., None]

    def save(self, value: Any, path: str, **options: Any) -> None:
        file = open(path, "wb")  # noqa: SIM115  (closed before the file is removed)
        try:
            with file:
                self.dump(value, file, **options)
        except BaseException:
            os.unlink(path)
            raise


class Pickle(_Streamed):
    """Any picklable value; pickle protocol 5, which Python 3.8 and later read.

    Options go to ``pickle.dump`` and ``pickle.load``.

    Notes
    -----
    The same value gives the same bytes, with two exceptions. Sets that hold text are written in an order that changes
    from process to process: keep them as sorted lists, or as keys of a dict. And what is one object in two places is
    written once, so equal values that share parts in other ways have other bytes.
    """

    name = "pickle"
    suffix = "pkl"
    runs_code = True

    def dump(self, value: Any, stream: Any, *, protocol: int = 5, **options: Any) -> None:
        try:
            pickle.dump(value, stream, protocol, **options)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise DeclarationError(
                f"A value of type {type(value).__name__} cannot be pickled",
                facts={"format": self.name, "pickle said": f"{type(error).__name__}: {error}"},
                hint="Lambdas, local classes, open files, connections cannot be saved: save what is needed "
                "to make them again, or keep the value in memory with TaskCache.",
            ) from error

    def load(self, path: str, **options: Any) -> Any:
        with open(path, "rb") as file:
            return pickle.load(file, **options)


class Json(_Streamed):
    """What ``json.dump`` takes; what it has no form for comes back as JSON has it.

    Tuples come back as lists; keys that are numbers, True, False or None as text. To have them as they are, use
    the pickle format. The file holds ``{"data": value}``, indented by 4. Options go to ``json.dump`` and
    ``json.load``.
    """

    name = "json"
    suffix = "json"

    def dump(self, value: Any, stream: Any, **options: Any) -> None:
        try:
            data = json.dumps({"data": value}, **{"indent": 4, **options}).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise DeclarationError(
                "JSON cannot hold this value",
                facts={"format": self.name, "json said": str(error)},
                hint="Convert it to dicts, lists, text and numbers first, or use the pickle format.",
            ) from error
        stream.write(data)

    def load(self, path: str, **options: Any) -> Any:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, **options)
        try:
            return content["data"]
        except (TypeError, KeyError):
            raise ValueError('the file holds JSON, but not {"data": ...}') from None


class Text(_Streamed):
    """A ``str``, UTF-8, line ends as they are. Options: ``encoding``, ``errors``."""

    name = "text"
    suffix = "txt"

    def dump(self, value: Any, stream: Any, *, encoding: str = "utf-8", errors: str = "strict") -> None:
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
        stream.write(data)

    def load(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        # Not text mode: it would turn \r\n into \n.
        with open(path, "rb") as file:
            return file.read().decode(encoding, errors)


class Bytes(_Streamed):
    """A ``bytes`` object, as it is. No options."""

    name = "bytes"
    suffix = "bin"

    def dump(self, value: Any, stream: Any) -> None:
        if not isinstance(value, bytes):
            raise _wrong_type(self.name, "bytes", value, "Convert it with bytes(), or use pickle.")
        stream.write(value)

    def load(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()
