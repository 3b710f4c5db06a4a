"""Every implementation of ``Files``, real and fake, against the same suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from d6tpipe.errors import StorageError
from d6tpipe.interfaces import Files, Writer, Written
from d6tpipe.storage.files import LocalFiles, host_tag, temporary_owner
from d6tpipe.testing import FILES_CHECKS, Crash, FaultyFiles, MemoryFiles

MAKERS: dict[str, Callable[[], Files]] = {
    "local": LocalFiles,
    "memory": MemoryFiles,
    "faulty, no fault": lambda: FaultyFiles(LocalFiles(), at=0),
    "faulty memory, no fault": lambda: FaultyFiles(MemoryFiles(), at=0),
}


@pytest.mark.parametrize("check", FILES_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_files(make: Callable[[], Files], check: Callable[[Files, str], None], tmp_path: Path) -> None:
    check(make(), str(tmp_path))


def whole(files: Writer, path: str, content: bytes) -> Written:
    return files.write(path, lambda temporary: write(temporary, content))


def streamed(files: Writer, path: str, content: bytes) -> Written:
    return files.write_stream(path, lambda stream: stream.write(content))


both = pytest.mark.parametrize("save", [whole, streamed])
Save = Callable[[Writer, str, bytes], Written]


@both
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("error", [Crash, OSError(28, "No space left on device")], ids=["crash", "full disk"])
def test_stopped_at_any_point_a_reader_sees_old_or_new_and_never_a_part(
    at: int, error: BaseException | type[BaseException], save: Save, tmp_path: Path
) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old content")
    files = FaultyFiles(LocalFiles(), at=at, error=error)

    with pytest.raises((Crash, OSError, StorageError)):
        save(files, str(path), b"new content")

    assert (b"new content" if at == 3 else b"old content") == path.read_bytes()


@both
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_full_disk_leaves_no_temporary_behind(at: int, save: Save, tmp_path: Path) -> None:
    files = FaultyFiles(LocalFiles(), at=at, error=OSError(28, "No space left on device"))
    with pytest.raises((OSError, StorageError)):
        save(files, str(tmp_path / "x.bin"), b"new")
    assert {"x.bin"} & set(os.listdir(tmp_path)) == set(os.listdir(tmp_path))


@both
def test_a_crash_while_writing_leaves_half_a_file_whose_owner_is_known(save: Save, tmp_path: Path) -> None:
    files = FaultyFiles(LocalFiles(), at=2)
    with pytest.raises(Crash):
        save(files, str(tmp_path / "x.bin"), b"new content!")
    (orphan,) = os.listdir(tmp_path)
    assert (host_tag(), os.getpid()) == temporary_owner(orphan)
    assert (tmp_path / orphan).read_bytes() == b"new co"


@both
def test_faulty_files_count_three_operations_per_write(save: Save, tmp_path: Path) -> None:
    files = FaultyFiles(MemoryFiles(), at=0)
    save(files, "d/x", b"1")
    files.exists("d/x")
    assert files.log == ["write d/x", "fill d/x", "renamed d/x", "exists d/x"]


def test_faulty_files_count_the_renames_of_what_is_written_together_at_the_end(tmp_path: Path) -> None:
    files = FaultyFiles(MemoryFiles(), at=0)
    with files.together() as group:
        streamed(group, "x", b"1")
        whole(group, "y", b"2")
    assert files.log == ["write x", "fill x", "write y", "fill y", "renamed x", "renamed y"]


@pytest.mark.parametrize("at", range(1, 7))
def test_stopped_at_any_point_all_of_several_files_are_old_or_all_are_new(at: int, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).write_bytes(b"old")
    files = FaultyFiles(LocalFiles(), at=at)
    with pytest.raises(Crash), files.together() as group:
        streamed(group, str(tmp_path / "x"), b"new")
        whole(group, str(tmp_path / "y"), b"new")
    assert ({b"old"} if at < 5 else {b"new"}) == {(tmp_path / name).read_bytes() for name in ("x", "y")}


def write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
