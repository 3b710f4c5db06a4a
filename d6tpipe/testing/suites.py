"""The suites: what every place for files and every format has to do, one function per claim."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from xxhash import xxh3_128_digest

from d6tpipe.errors import DeclarationError, StorageError
from d6tpipe.interfaces import Files, Format, Writer, Written
from d6tpipe.storage.files import temporary_name, temporary_owner
from d6tpipe.testing.fakes import Crash, FaultyFiles, MemoryFiles, halve

__all__ = ["FILES_CHECKS", "FORMAT_CHECKS", "FormatCase"]


# -- what every Files does ---------------------------------------------------------------------------------
#
# `folder` is an existing, empty place for the check to use, by a path that `files` understands.


def _put(files: Writer, path: str, content: bytes) -> Written:
    def fill(temporary: str) -> None:
        with open(temporary, "wb") as file:
            file.write(content)

    return files.write(path, fill)


def _put_stream(files: Writer, path: str, content: bytes) -> Written:
    def put(stream: Any) -> None:
        stream.write(content)

    return files.write_stream(path, put)


_WAYS: Sequence[tuple[str, Callable[[Writer, str, bytes], Written]]] = (("write", _put), ("write_stream", _put_stream))


def _content(files: Files, path: str) -> bytes:
    """Return what a reader sees at `path`."""
    inner: Any = files
    while isinstance(inner, FaultyFiles):
        inner = inner.inner
    if isinstance(inner, MemoryFiles):
        return inner.contents[path]
    with open(path, "rb") as file:
        return file.read()


def _expect(kind: type[BaseException], call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def a_missing_folder_lists_as_empty(files: Files, folder: str) -> None:
    nowhere = os.path.join(folder, "nowhere")
    assert set() == files.listing(nowhere)
    assert files.stats(nowhere) == {}
    assert files.stat(nowhere) is None
    assert not files.exists(nowhere)


def a_question_makes_nothing(files: Files, folder: str) -> None:
    files.exists(os.path.join(folder, "sub", "x"))
    files.listing(os.path.join(folder, "sub"))
    files.stats(os.path.join(folder, "sub"))
    files.stat(os.path.join(folder, "sub", "x"))
    files.remove(os.path.join(folder, "sub", "x"))
    assert not files.exists(os.path.join(folder, "sub"))


def what_is_written_exists_and_is_listed(files: Files, folder: str) -> None:
    path = os.path.join(folder, "sub", "x.bin")
    _put(files, path, b"content")
    assert files.exists(path)
    assert {"x.bin"} == files.listing(os.path.join(folder, "sub"))
    assert _content(files, path) == b"content"


def writing_makes_missing_folders(files: Files, folder: str) -> None:
    for name, write in _WAYS:
        path = os.path.join(folder, name, "b", "c", "x.bin")
        write(files, path, b"1")
        assert files.exists(path)


def what_is_written_is_told_as_it_is_found_later(files: Files, folder: str) -> None:
    contents = [b"", b"x", b"y" * 70_000, b"z" * 2_500_000]
    for name, write in _WAYS:
        for number, content in enumerate(contents):
            path = os.path.join(folder, name, f"{number}.bin")
            written = write(files, path, content)
            assert (len(content), xxh3_128_digest(content)) == (written.size, written.digest)
            assert (written.size, written.mtime_ns) == files.stat(path)
            assert written.digest == files.digest(path)
        assert {f"{number}.bin": files.stat(os.path.join(folder, name, f"{number}.bin")) for number in range(4)} == (
            files.stats(os.path.join(folder, name))
        )


def a_stream_takes_any_buffer_in_any_pieces(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    pieces: list[Any] = [
        b"one",
        bytearray(b"two"),
        memoryview(b"three"),
        b"",
        memoryview(array("i", [1, 2])),
        b"w" * 300_000,
    ]

    def put(stream: Any) -> None:
        for piece in pieces:
            assert stream.write(piece) == memoryview(piece).nbytes
        stream.flush()

    written = files.write_stream(path, put)
    assert b"".join(map(bytes, pieces)) == _content(files, path)
    assert written.digest == files.digest(path)


def what_reads_a_missing_file_is_a_storage_error(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    assert path in str(_expect(StorageError, lambda: files.digest(path)))


def a_folder_is_told_from_a_file_at_a_glance(files: Files, folder: str) -> None:
    """Its own size and time are asked for one by one: they are those of all that is in it."""
    _put(files, os.path.join(folder, "sub", "x.bin"), b"123")
    _put(files, os.path.join(folder, "sub", "deeper", "y.bin"), b"45")
    _put(files, os.path.join(folder, "z.bin"), b"6")
    found = files.stats(folder)
    assert {"sub": (-2, 0), "z.bin": files.stat(os.path.join(folder, "z.bin"))} == found
    assert {"z.bin": found["z.bin"]} == files.stats(folder, {"z.bin", "no.bin"})
    told = files.stat(os.path.join(folder, "sub"))
    assert told is not None and told[0] == 5
    before = files.digest(os.path.join(folder, "sub"))
    _put(files, os.path.join(folder, "sub", "deeper", "y.bin"), b"46")
    assert before != files.digest(os.path.join(folder, "sub"))


def files_written_together_appear_at_the_end(files: Files, folder: str) -> None:
    one, other = os.path.join(folder, "a", "one.bin"), os.path.join(folder, "other.bin")
    _put(files, other, b"old")
    with files.together() as group:
        told = {one: _put(group, one, b"1"), other: _put_stream(group, other, b"new")}
        assert not files.exists(one)
        assert _content(files, other) == b"old"
    for path, content in ((one, b"1"), (other, b"new")):
        assert _content(files, path) == content
        assert (told[path].size, told[path].mtime_ns) == files.stat(path)
        assert told[path].digest == files.digest(path)
    assert {"a", "other.bin"} == files.listing(folder)


def if_one_of_several_fails_none_is_written(files: Files, folder: str) -> None:
    old, new = os.path.join(folder, "old.bin"), os.path.join(folder, "new.bin")
    _put(files, old, b"old")

    def both(stop: Callable[[], None], kind: type[BaseException]) -> None:
        def stopped(_: Any) -> None:
            stop()

        def body() -> None:
            with files.together() as group:
                _put(group, old, b"1")
                _put_stream(group, new, b"2")
                group.write_stream(os.path.join(folder, "third.bin"), stopped)

        _expect(kind, body)
        assert _content(files, old) == b"old"
        assert {"old.bin"} == files.listing(folder)

    def stop(error: BaseException) -> None:
        raise error

    both(lambda: stop(ValueError("stop")), ValueError)
    both(lambda: stop(KeyboardInterrupt()), KeyboardInterrupt)
    both(lambda: stop(OSError(28, "No space left on device")), StorageError)


def ensuring_a_folder_twice_is_fine(files: Files, folder: str) -> None:
    inner = os.path.join(folder, "a", "b")
    files.ensure_folder(inner)
    files.ensure_folder(inner)
    assert files.exists(inner)


def a_second_write_replaces_the_first(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    _put(files, path, b"a much longer first content")
    _put(files, path, b"second")
    assert _content(files, path) == b"second"
    assert {"x.bin"} == files.listing(folder)


def while_writing_readers_see_the_old_content(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    _put(files, path, b"old")

    def fill(temporary: str) -> None:
        with open(temporary, "wb") as file:
            file.write(b"ne")
            file.flush()
            assert _content(files, path) == b"old"
            file.write(b"w")

    files.write(path, fill)
    assert _content(files, path) == b"new"


def while_first_writing_readers_see_nothing(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")

    def fill(temporary: str) -> None:
        with open(temporary, "wb") as file:
            file.write(b"new")
            file.flush()
            assert not files.exists(path)

    files.write(path, fill)
    assert files.exists(path)


def a_failed_write_leaves_the_old_content_and_no_temporary(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    _put(files, path, b"old")
    for kind in (ValueError, KeyboardInterrupt, Crash):

        def fill(temporary: str, kind: type[BaseException] = kind) -> None:
            with open(temporary, "wb") as file:
                file.write(b"half")
                file.flush()
                raise kind("stop")

        def put(stream: Any, kind: type[BaseException] = kind) -> None:
            stream.write(b"half")
            raise kind("stop")

        for call in (lambda fill=fill: files.write(path, fill), lambda put=put: files.write_stream(path, put)):
            _expect(kind, call)
            assert _content(files, path) == b"old"
            assert {"x.bin"} == files.listing(folder)


def a_failed_first_write_leaves_nothing(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")

    def fill(temporary: str) -> None:
        with open(temporary, "wb") as file:
            file.write(b"half")
        raise ValueError("stop")

    _expect(ValueError, lambda: files.write(path, fill))
    assert not files.exists(path)
    assert set() == files.listing(folder)


def a_writer_that_writes_nothing_is_an_error(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    _put(files, path, b"old")
    error = _expect(StorageError, lambda: files.write(path, lambda temporary: None))
    assert path in str(error)
    assert _content(files, path) == b"old"


def a_system_error_becomes_a_storage_error_with_its_cause(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    original = OSError(28, "No space left on device")

    def fill(_: Any) -> None:
        raise original

    for call in (lambda: files.write(path, fill), lambda: files.write_stream(path, fill)):
        error = _expect(StorageError, call)
        assert original is error.__cause__
        assert path in str(error) and "No space left on device" in str(error)


def the_temporary_name_keeps_the_suffix_and_is_short(files: Files, folder: str) -> None:
    names: list[str] = []

    def fill(temporary: str) -> None:
        names.append(os.path.basename(temporary))
        with open(temporary, "wb"):
            pass

    for name in ("x.csv.gz", "x.parquet", "x", "y" * 200 + ".pkl"):
        files.write(os.path.join(folder, name), fill)
    assert [name[name.find(".", 1) :] if "." in name[1:] else "" for name in names] == [
        ".csv.gz",
        ".parquet",
        "",
        ".pkl",
    ]
    assert all(name.startswith(".tmp-") and len(os.fsencode(name)) <= 60 for name in names), names
    assert len(names) == len(set(names))


def removing_says_whether_there_was_a_file(files: Files, folder: str) -> None:
    path = os.path.join(folder, "x.bin")
    _put(files, path, b"1")
    assert files.remove(path) is True
    assert files.remove(path) is False
    assert not files.exists(path)


def removing_a_folder_is_refused(files: Files, folder: str) -> None:
    path = os.path.join(folder, "sub", "x.bin")
    _put(files, path, b"1")
    _expect(StorageError, lambda: files.remove(os.path.join(folder, "sub")))
    assert _content(files, path) == b"1"


def a_file_in_the_place_of_a_folder_is_an_error(files: Files, folder: str) -> None:
    _put(files, os.path.join(folder, "x"), b"1")
    for _, write in _WAYS:
        _expect(StorageError, lambda write=write: write(files, os.path.join(folder, "x", "y.bin"), b"2"))  # type: ignore[misc]
    _expect(StorageError, lambda: files.ensure_folder(os.path.join(folder, "x", "y")))


FILES_CHECKS: Sequence[Callable[[Files, str], None]] = (
    a_missing_folder_lists_as_empty,
    a_question_makes_nothing,
    what_is_written_exists_and_is_listed,
    writing_makes_missing_folders,
    what_is_written_is_told_as_it_is_found_later,
    a_stream_takes_any_buffer_in_any_pieces,
    what_reads_a_missing_file_is_a_storage_error,
    a_folder_is_told_from_a_file_at_a_glance,
    files_written_together_appear_at_the_end,
    if_one_of_several_fails_none_is_written,
    ensuring_a_folder_twice_is_fine,
    a_second_write_replaces_the_first,
    while_writing_readers_see_the_old_content,
    while_first_writing_readers_see_nothing,
    a_failed_write_leaves_the_old_content_and_no_temporary,
    a_failed_first_write_leaves_nothing,
    a_writer_that_writes_nothing_is_an_error,
    a_system_error_becomes_a_storage_error_with_its_cause,
    the_temporary_name_keeps_the_suffix_and_is_short,
    removing_says_whether_there_was_a_file,
    removing_a_folder_is_refused,
    a_file_in_the_place_of_a_folder_is_an_error,
)
"""Every implementation of ``Files`` passes these: ``check(files, folder)``."""


# -- what every Format does --------------------------------------------------------------------------------


@dataclass
class FormatCase:
    """What a format is tried with.

    Parameters
    ----------
    values : iterable
        Values that come back equal.
    wrong : iterable
        Values of a type that the format does not hold; empty for one that takes everything.
    equal : callable, optional
        Compares a loaded value with a saved one; ``==`` of equal types unless given.
    reproducible : bool
        Whether the same value gives the same bytes, at any time; if not, whatever a task saves counts as changed. Say
        so in the docstring of the format. The check moves Python's clock; what asks the system itself for the time,
        or depends on the hash seed, is found out only by saving in two processes.
    detects_damage : bool
        Whether half a file cannot be taken for a whole one. Plain text cannot tell.
    """

    values: Iterable[Any]
    wrong: Iterable[Any] = field(default_factory=tuple)
    equal: Callable[[Any, Any], bool] = lambda one, other: type(one) is type(other) and bool(one == other)
    reproducible: bool = True
    detects_damage: bool = True


def _path(format: Format, folder: str, stem: str = ".tmp-x-1-1") -> str:
    return os.path.join(folder, f"{stem}.{format.suffix}")


class _OnlyWrites:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: Any) -> int:
        self.written.append(bytes(data))
        return len(self.written[-1])

    def flush(self) -> None:
        pass


def _later() -> Any:
    """Return a ``with`` block in which Python's clock shows another day."""
    now = time.time() + 100_000
    return mock.patch.multiple(
        time,
        time=lambda: now,
        localtime=lambda seconds=None, real=time.localtime: real(now if seconds is None else seconds),
        gmtime=lambda seconds=None, real=time.gmtime: real(now if seconds is None else seconds),
    )


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def values_come_back(format: Format, case: FormatCase, folder: str) -> None:
    for value in case.values:
        path = _path(format, folder)
        format.save(value, path)
        assert case.equal(format.load(path), value), f"{value!r} came back as {format.load(path)!r}"


def only_the_given_path_is_written(format: Format, case: FormatCase, folder: str) -> None:
    for value in case.values:
        path = _path(format, folder)
        format.save(value, path)
        assert [os.path.basename(path)] == os.listdir(folder)


def a_second_save_replaces_the_first(format: Format, case: FormatCase, folder: str) -> None:
    path = _path(format, folder)
    for value in case.values:
        format.save(value, path)
        assert case.equal(format.load(path), value)


def the_same_value_gives_the_same_bytes(format: Format, case: FormatCase, folder: str) -> None:
    if not case.reproducible:
        return
    for value in case.values:
        # Different names: the temporary one must not get into the file.
        one, other = _path(format, folder, ".tmp-a-1-1"), _path(format, folder, ".tmp-bb-2-22")
        format.save(value, one)
        with _later():
            format.save(value, other)
        assert _bytes(one) == _bytes(other), f"{value!r} gives different bytes"


def dump_writes_what_save_writes(format: Format, case: FormatCase, folder: str) -> None:
    """``dump`` is optional. Its stream can be written to, and nothing else."""
    dump = getattr(format, "dump", None)
    if dump is None:
        return
    for value in case.values:
        path, stream = _path(format, folder), _OnlyWrites()
        dump(value, stream)
        format.save(value, path)
        if case.reproducible:
            assert _bytes(path) == b"".join(stream.written), f"{value!r} gives different bytes"
        with open(path, "wb") as file:
            file.write(b"".join(stream.written))
        assert case.equal(format.load(path), value), f"{value!r} came back as {format.load(path)!r}"
    for value in case.wrong:
        stream = _OnlyWrites()
        _expect(DeclarationError, lambda value=value, stream=stream: dump(value, stream))  # type: ignore[misc]
        assert stream.written == []


def a_wrong_type_is_refused_before_anything_is_written(format: Format, case: FormatCase, folder: str) -> None:
    for value in case.wrong:
        path = _path(format, folder)
        error = _expect(DeclarationError, lambda value=value, path=path: format.save(value, path))  # type: ignore[misc]
        assert isinstance(error, TypeError)
        assert format.name in str(error).lower(), f"the message does not name the format: {error}"
        assert getattr(error, "hint", None), f"the message does not say what to do: {error}"
        assert os.listdir(folder) == []


def a_missing_folder_is_file_not_found(format: Format, case: FormatCase, folder: str) -> None:
    """``Files.write`` makes the folder when it hears this; any other error would reach the user."""
    for value in case.values:
        path = _path(format, os.path.join(folder, "nowhere"))
        _expect(FileNotFoundError, lambda value=value, path=path: format.save(value, path))  # type: ignore[misc]
        assert os.listdir(folder) == []


def loading_a_damaged_file_fails(format: Format, case: FormatCase, folder: str) -> None:
    if not case.detects_damage:
        return
    for value in case.values:
        path = _path(format, folder)
        format.save(value, path)
        halve(path)
        _expect(Exception, lambda path=path: format.load(path))  # type: ignore[misc]


def the_name_and_suffix_are_short_text(format: Format, case: FormatCase, folder: str) -> None:
    assert isinstance(format.name, str) and format.name
    # Longer suffixes do not survive in temporary names.
    assert format.suffix and not format.suffix.startswith(".") and len(format.suffix) <= 20
    name = temporary_name(f"x.{format.suffix}")
    assert name.endswith("." + format.suffix) and temporary_owner(name)


FORMAT_CHECKS: Sequence[Callable[[Format, FormatCase, str], None]] = (
    values_come_back,
    only_the_given_path_is_written,
    a_second_save_replaces_the_first,
    the_same_value_gives_the_same_bytes,
    dump_writes_what_save_writes,
    a_wrong_type_is_refused_before_anything_is_written,
    a_missing_folder_is_file_not_found,
    loading_a_damaged_file_fails,
    the_name_and_suffix_are_short_text,
)
"""Every ``Format`` passes these: ``check(format, case, empty folder)``."""
