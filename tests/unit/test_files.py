"""What is particular to local files; what every ``Files`` does is in tests/conformance."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from d6tpipe.errors import StorageError
from d6tpipe.storage.files import LOCAL, host_tag, temporary_name, temporary_owner

posix = pytest.mark.skipif(os.name == "nt", reason="links and permissions as on Unix")


def write(path: Path, content: bytes) -> None:
    LOCAL.write(str(path), lambda temporary: Path(temporary).write_bytes(content) and None)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("Task_1_ab-data.csv.gz", ".csv.gz"),
        ("Task_1.5_ab-data.pkl", ".pkl"),
        ("data.tar.gz", ".tar.gz"),
        ("v1.2.gz", ".2.gz"),
        ("noext", ""),
        (".hidden", ""),
        (".gz", ""),
        ("x." + "y" * 100, ""),
        ("x" * 250 + ".gz", ".gz"),
        ("x." + "y" * 100 + ".gz", ".gz"),
        ("x.ü", ""),
        ("", ""),
    ],
)
def test_a_temporary_name_keeps_the_suffix(name: str, suffix: str) -> None:
    temporary = temporary_name(name)
    stem = f".tmp-{host_tag()}-{os.getpid()}-"
    assert temporary.startswith(stem)
    number, dot, rest = temporary[len(stem) :].partition(".")
    assert number.isdigit()
    assert suffix == dot + rest


def test_a_temporary_name_is_at_most_sixty_bytes_even_with_the_largest_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("d6tpipe.storage.files.os.getpid", lambda: 4_194_304)
    monkeypatch.setattr("d6tpipe.storage.files._numbers", iter([10**14 - 1]))
    assert len(os.fsencode(temporary_name("x." + "y" * 23))) <= 60


def test_temporary_names_differ_between_threads() -> None:
    names: list[str] = []

    def make() -> None:
        names.extend([temporary_name("x.pkl") for _ in range(200)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 800


def test_the_owner_of_a_temporary_name_is_known() -> None:
    assert (host_tag(), os.getpid()) == temporary_owner(temporary_name("x.csv.gz"))
    assert (host_tag(), os.getpid()) == temporary_owner(temporary_name("x"))


@pytest.mark.parametrize("name", ["x.csv", ".tmp-", ".tmp-x.csv", ".tmp-12345678-x-1.csv", "a.tmp-12345678-1-1.csv"])
def test_other_names_have_no_owner(name: str) -> None:
    assert temporary_owner(name) is None


@posix
def test_links_to_nothing_neither_exist_nor_are_listed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "good").symlink_to("real")
    (tmp_path / "bad").symlink_to("nowhere")
    assert {"real", "good"} == LOCAL.listing(str(tmp_path))
    assert not LOCAL.exists(str(tmp_path / "bad"))


@posix
def test_writing_replaces_a_link_and_leaves_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "shared").write_bytes(b"of others")
    (tmp_path / "x").symlink_to("shared")
    write(tmp_path / "x", b"mine")
    assert (tmp_path / "shared").read_bytes() == b"of others"
    assert (tmp_path / "x").read_bytes() == b"mine"


@posix
def test_a_reader_who_has_the_old_file_open_keeps_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, b"old")
    with path.open("rb") as reader:
        write(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


@posix
def test_new_files_have_the_permissions_that_open_would_give(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write(tmp_path / "x", b"")
    assert plain.stat().st_mode == (tmp_path / "x").stat().st_mode


def test_a_bare_file_name_is_written_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("x.bin"), b"1")
    assert os.listdir(tmp_path) == ["x.bin"]


def test_no_folder_is_made_while_the_folder_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("makedirs was called")

    monkeypatch.setattr("d6tpipe.storage.files.os.makedirs", never)
    write(tmp_path / "x", b"1")


def test_a_file_missing_for_the_writers_own_reasons_is_not_taken_for_a_missing_folder(tmp_path: Path) -> None:
    calls = []

    def fill(temporary: str) -> None:
        calls.append(temporary)
        open(tmp_path / "what the writer reads").close()

    with pytest.raises(StorageError, match="what the writer reads"):
        LOCAL.write(str(tmp_path / "x"), fill)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "who may write"),
        (errno.EIO, "original"),
    ],
)
def test_a_storage_error_names_path_folder_reason_and_next_step(tmp_path: Path, code: int, said: str) -> None:
    def fill(temporary: str) -> None:
        raise OSError(code, os.strerror(code), temporary)

    with pytest.raises(StorageError) as caught:
        LOCAL.write(str(tmp_path / "x.bin"), fill)
    assert {
        "path": str(tmp_path / "x.bin"),
        "folder": str(tmp_path),
        "reason": os.strerror(code),
    } == caught.value.facts
    assert said in (caught.value.hint or "")


def test_a_name_that_is_too_long_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="shorter name"):
        write(tmp_path / ("x" * 300), b"1")
    assert os.listdir(tmp_path) == []


def test_a_folder_of_that_name_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"There is a folder|Check who"):
        write(tmp_path / "x", b"1")
    with pytest.raises(StorageError, match="There is a folder"):
        LOCAL.remove(str(tmp_path / "x"))
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_output_is_swapped_for_the_old_one(tmp_path: Path) -> None:
    def fill(temporary: str, content: str) -> None:
        os.mkdir(temporary)
        Path(temporary, content).touch()

    for content in ("first", "second"):
        LOCAL.write(str(tmp_path / "model"), lambda temporary, content=content: fill(temporary, content))
    assert os.listdir(tmp_path) == ["model"]
    assert os.listdir(tmp_path / "model") == ["second"]


def test_a_failed_folder_output_leaves_the_old_one_and_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()

    def fill(temporary: str) -> None:
        os.mkdir(temporary)
        Path(temporary, "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LOCAL.write(str(tmp_path / "model"), fill)
    assert os.listdir(tmp_path) == ["model"]
    assert os.listdir(tmp_path / "model") == ["old"]


@posix
def test_a_folder_that_may_not_be_written_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    root = os.geteuid() == 0
    if root:  # root may write anywhere
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match="who may write"):
            write(tmp_path / "x", b"1")
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_takes_other_names() -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, temporary_name("x").encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read_end, 200).decode()
    os.close(read_end)
    os.close(write_end)
    assert (host_tag(), child) == temporary_owner(theirs)


@posix
def test_sweeping_removes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead, mine = child.stdout.strip(), temporary_name("x.pkl")
    orphan = mine.replace(f"-{os.getpid()}-", f"-{dead}-")
    foreign = orphan.replace(host_tag(), "0" * 8)
    for name in (orphan, mine, foreign, "x.pkl", ".tmp-other"):
        (tmp_path / name).touch()
    assert 1 == LOCAL.sweep(str(tmp_path))
    assert {mine, foreign, "x.pkl", ".tmp-other"} == set(os.listdir(tmp_path))
    assert 0 == LOCAL.sweep(str(tmp_path / "missing"))
