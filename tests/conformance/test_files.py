"""Every implementation of ``Files``, real and fake, against the same suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from d6tpipe.errors import StorageError
from d6tpipe.interfaces import Files
from d6tpipe.storage.files import LocalFiles
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


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("error", [Crash, OSError(28, "No space left on device")], ids=["crash", "full disk"])
def test_stopped_at_any_point_a_reader_sees_old_or_new_and_never_a_part(
    at: int, error: BaseException | type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old content")
    files = FaultyFiles(LocalFiles(), at=at, error=error)

    with pytest.raises((Crash, OSError, StorageError)):
        files.write(str(path), lambda temporary: write(temporary, b"new content"))

    assert (b"new content" if at == 3 else b"old content") == path.read_bytes()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_full_disk_leaves_no_temporary_behind(at: int, tmp_path: Path) -> None:
    files = FaultyFiles(LocalFiles(), at=at, error=OSError(28, "No space left on device"))
    with pytest.raises((OSError, StorageError)):
        files.write(str(tmp_path / "x.bin"), lambda temporary: write(temporary, b"new"))
    assert {"x.bin"} & set(os.listdir(tmp_path)) == set(os.listdir(tmp_path))


def test_a_crash_while_writing_leaves_a_temporary_whose_owner_is_known(tmp_path: Path) -> None:
    from d6tpipe.storage.files import host_tag, temporary_owner

    files = FaultyFiles(LocalFiles(), at=2)
    with pytest.raises(Crash):
        files.write(str(tmp_path / "x.bin"), lambda temporary: write(temporary, b"new"))
    (orphan,) = os.listdir(tmp_path)
    assert (host_tag(), os.getpid()) == temporary_owner(orphan)


def test_faulty_files_count_three_operations_per_write(tmp_path: Path) -> None:
    files = FaultyFiles(MemoryFiles(), at=0)
    files.write("d/x", lambda temporary: write(temporary, b"1"))
    files.exists("d/x")
    assert files.log == ["write d/x", "fill d/x", "renamed d/x", "exists d/x"]


def write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
