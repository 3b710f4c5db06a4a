"""Calls to a ``luigid``: one HTTP POST each, many under way on one connection.

luigi's own client waits for every answer, which costs several times what the server needs; there is no call for many
tasks at once. HTTP/1.1 allows to send the next request before the answer to the last one has come, and the server
answers in order.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from d6tpipe.errors import ParameterError, SchedulerError, told

__all__ = ["Call", "Connection", "address_of"]

Call = tuple[str, Mapping[str, Any]]
"""Name and arguments of a method of luigi's scheduler."""

_TIMEOUT = 10.0  # seconds, as luigi's rpc-connect-timeout
_PORT = 8082


def address_of(url: Any) -> str:
    """Return the URL of a scheduler in the form in which it is shown; a host alone stands for luigid's usual port.

    Raises
    ------
    ParameterError
        It is not a URL that leads to a scheduler.
    """
    text = str(url).strip()
    if isinstance(url, str) and text and ":/" not in text:
        text = "http://" + text
    try:
        parts = urlsplit(text)
        port = parts.port or (_PORT if parts.scheme == "http" else 443)
    except ValueError:
        parts, port = urlsplit(""), 0
    if not isinstance(url, str) or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ParameterError(
            "scheduler= must be the address of a luigid",
            facts={"got": repr(url)},
            hint='Write scheduler="http://localhost:8082".',
        )
    login = parts.netloc.rpartition("@")[0]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{login + '@' if login else ''}{host}:{port}{parts.path.rstrip('/')}"


class Connection:
    """A connection to a scheduler; opened when it is first used, and again after it broke. For one thread.

    Parameters
    ----------
    url : str
        As `address_of` returns it.
    timeout : float, seconds
        How long to wait for a connection, and for each answer.
    """

    def __init__(self, url: str, timeout: float = _TIMEOUT) -> None:
        parts = urlsplit(url)
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._host, self._port = parts.hostname or "", parts.port or _PORT
        self._secure = parts.scheme == "https"
        self._timeout = timeout
        self._path = parts.path
        self._socket: socket.socket | None = None
        self._answers: IO[bytes] | None = None
        lines = [f"Host: {parts.netloc.rpartition('@')[2]}", "Content-Type: application/x-www-form-urlencoded"]
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            lines.append("Authorization: Basic " + base64.b64encode(login).decode())
        self._lines = "\r\n".join(lines)

    def send(self, calls: Sequence[Call], meanwhile: Callable[[int], object] | None = None) -> list[Any]:
        """Make all `calls` in order and return what each has returned, a `SchedulerError` where the server failed.

        `meanwhile` is told how many there are when all have been sent, before answers are read.

        Raises
        ------
        SchedulerError
            The scheduler cannot be reached, or does not answer as one. How many calls it has taken is not known.
        """
        request = b"".join([self._request(method, arguments) for method, arguments in calls])
        try:
            if self._socket is None:
                self._open()
            assert self._socket is not None
            self._socket.sendall(request)
            if meanwhile is not None:
                meanwhile(len(calls))
            return [self._answer(method) for method, _ in calls]
        except (OSError, ValueError) as error:
            self.close()
            raise SchedulerError(
                "The scheduler does not answer",
                facts={"scheduler": self.shown, "because": told(error)},
                hint="Start it there (luigid), or correct the address.",
            ) from error
        except BaseException:  # answers that nobody has read would be taken for those to the next calls
            self.close()
            raise

    def call(self, method: str, **arguments: Any) -> Any:
        """Make one call; see `send`."""
        return self.send([(method, arguments)])[0]

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._answers = None

    def _open(self) -> None:
        found = socket.create_connection((self._host, self._port), self._timeout)
        if self._secure:
            found = ssl.create_default_context().wrap_socket(found, server_hostname=self._host)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._answers = found, found.makefile("rb")

    def _request(self, method: str, arguments: Mapping[str, Any]) -> bytes:
        # Of what JSON is made of, these are the characters that mean something in a form; to quote all that could be
        # quoted would take longer than the rest of the call.
        text = json.dumps(arguments).replace("%", "%25").replace("&", "%26").replace("+", "%2B").replace(";", "%3B")
        body = b"data=" + text.encode()
        head = f"POST {self._path}/api/{method} HTTP/1.1\r\n{self._lines}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _answer(self, method: str) -> Any:
        """Read one answer."""
        stream = self._answers
        assert stream is not None
        status = stream.readline()
        length = None
        while True:
            line = stream.readline()
            if not line:
                raise ConnectionError("it closed the connection")
            if line == b"\r\n":
                break
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if length is None:
            raise ValueError(f"an answer of unknown length to {method}: {status!r}")
        body = stream.read(length)
        if b" 200 " in status[:16]:
            return json.loads(body)["response"]
        said = f"{method}: {status.decode('latin-1').strip()}"
        if b" 50" not in status[:12]:
            raise ValueError(said)
        return SchedulerError("The scheduler failed at a call", facts={"scheduler": self.shown, "it said": said})
