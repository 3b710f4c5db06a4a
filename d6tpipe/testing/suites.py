"""The suites: what every place for files and every format has to do, one function per claim."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from d6tpipe.errors import DeclarationError, StorageError
from d6tpipe.interfaces import Files, Format
from d6tpipe.storage.files import temporary_name, temporary_owner
from d6tpipe.testing.fakes import Crash, FaultyFiles, MemoryFiles, halve

__all__ = ["FILES_CHECKS", "FORMAT_CHECKS", "FormatCase"]


# -- what every Files does ---------------------------------------------------------------------------------
#
# `folder` is an existing, empty place for the check to use, by a path that `files` understands.


def _put(files: Files, path: str, content: bytes) -> None:
    def fill(temporary: str) -> None:
        with open(temporary, "wb") as file:
            file.write(content)

    files.write(path, fill)


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
    assert set() == files.listing(os.path.join(folder, "nowhere"))
    assert not files.exists(os.path.join(folder, "nowhere"))


def a_question_makes_nothing(files: Files, folder: str) -> None:
    files.exists(os.path.join(folder, "sub", "x"))
    files.listing(os.path.join(folder, "sub"))
    files.remove(os.path.join(folder, "sub", "x"))
    assert not files.exists(os.path.join(folder, "sub"))


def what_is_written_exists_and_is_listed(files: Files, folder: str) -> None:
    path = os.path.join(folder, "sub", "x.bin")
    _put(files, path, b"content")
    assert files.exists(path)
    assert {"x.bin"} == files.listing(os.path.join(folder, "sub"))
    assert _content(files, path) == b"content"


def writing_makes_missing_folders(files: Files, folder: str) -> None:
    path = os.path.join(folder, "a", "b", "c", "x.bin")
    _put(files, path, b"1")
    assert files.exists(path)


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

        _expect(kind, lambda fill=fill: files.write(path, fill))  # type: ignore[misc]
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

    def fill(temporary: str) -> None:
        raise original

    error = _expect(StorageError, lambda: files.write(path, fill))
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
    _expect(StorageError, lambda: _put(files, os.path.join(folder, "x", "y.bin"), b"2"))
    _expect(StorageError, lambda: files.ensure_folder(os.path.join(folder, "x", "y")))


FILES_CHECKS: Sequence[Callable[[Files, str], None]] = (
    a_missing_folder_lists_as_empty,
    a_question_makes_nothing,
    what_is_written_exists_and_is_listed,
    writing_makes_missing_folders,
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
        Whether the same value gives the same bytes; False needs a content fingerprint elsewhere.
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
        format.save(value, other)
        assert _bytes(one) == _bytes(other), f"{value!r} gives different bytes"


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
    a_wrong_type_is_refused_before_anything_is_written,
    a_missing_folder_is_file_not_found,
    loading_a_damaged_file_fails,
    the_name_and_suffix_are_short_text,
)
"""Every ``Format`` passes these: ``check(format, case, empty folder)``."""
