"""What is particular to local files; what every ``Files`` does is in tests/conformance."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_128_digest

from d6tpipe import settings
from d6tpipe.errors import StorageError
from d6tpipe.interfaces import Written
from d6tpipe.storage.files import LOCAL, host_tag, temporary_name, temporary_owner

posix = pytest.mark.skipif(os.name == "nt", reason="links and permissions as on Unix")


def write(path: Path, content: bytes) -> Written:
    return LOCAL.write(str(path), lambda temporary: Path(temporary).write_bytes(content) and None)


def write_stream(path: Path, content: bytes) -> Written:
    return LOCAL.write_stream(str(path), lambda stream: stream.write(content))


def write_folder(path: Path, contents: dict[str, bytes]) -> Written:
    """Write a folder; a name that ends in a slash is an empty folder in it."""

    def fill(temporary: str) -> None:
        for name, content in contents.items():
            inner = Path(temporary, name)
            (inner if name.endswith("/") else inner.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                inner.write_bytes(content)

    return LOCAL.write(str(path), fill)


both = pytest.mark.parametrize("save", [write, write_stream])


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


# -- what is told of a finished output ---------------------------------------------------------------------


@both
def test_size_and_time_told_are_those_under_the_final_name(
    save: Callable[[Path, bytes], Written], tmp_path: Path
) -> None:
    for content in (b"", b"x", b"y" * 3_000_000):
        for _ in range(2):  # the second replaces the first
            written = save(tmp_path / "x", content)
            facts = os.stat(tmp_path / "x")
            assert (facts.st_size, facts.st_mtime_ns, xxh3_128_digest(content)) == written


def test_a_stream_is_not_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("the file was read")

    monkeypatch.setattr("d6tpipe.storage.files._look", never)
    write_stream(tmp_path / "x", b"content")


def test_a_stream_goes_on_when_the_system_takes_only_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_a_part(descriptor: int, data: Any) -> int:
        return whole(descriptor, memoryview(data).cast("B")[:1000])

    whole = os.write
    monkeypatch.setattr("d6tpipe.storage.files.os.write", write_a_part)
    content = bytes(range(256)) * 100
    written = write_stream(tmp_path / "x", content)
    assert content == (tmp_path / "x").read_bytes()
    assert (len(content), xxh3_128_digest(content)) == (written.size, written.digest)


def test_a_stream_that_is_kept_writes_nowhere_once_the_file_is_finished(tmp_path: Path) -> None:
    kept: list[Any] = []
    LOCAL.write_stream(str(tmp_path / "x"), kept.append)
    with pytest.raises(RuntimeError):
        LOCAL.write_stream(str(tmp_path / "y"), lambda stream: kept.append(stream) or stop())
    with open(tmp_path / "other", "wb"):  # gets the number that the streams had
        for stream in kept:
            with pytest.raises(OSError, match="Bad file descriptor"):
                stream.write(b"lost")
    assert [0, 0] == [os.path.getsize(tmp_path / name) for name in ("x", "other")]


def stop() -> None:
    raise RuntimeError


def test_a_missing_folder_is_made_before_a_stream_is_filled(tmp_path: Path) -> None:
    calls: list[Any] = []
    LOCAL.write_stream(str(tmp_path / "a" / "b" / "x"), calls.append)
    assert len(calls) == 1


def test_what_a_stream_writer_misses_is_not_taken_for_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="what the writer reads"):
        LOCAL.write_stream(str(tmp_path / "x"), lambda stream: open(tmp_path / "what the writer reads").close())
    assert os.listdir(tmp_path) == []


def test_the_digest_of_a_folder_says_whether_names_and_contents_are_the_same(tmp_path: Path) -> None:
    base = {"a": b"1", "sub/b": b"2", "empty/": b""}
    first = write_folder(tmp_path / "first", base)
    assert first.digest == write_folder(tmp_path / "second", dict(reversed(base.items()))).digest
    assert first.digest == LOCAL.digest(str(tmp_path / "first"))
    others = [
        {"a": b"2", "sub/b": b"2", "empty/": b""},
        {"c": b"1", "sub/b": b"2", "empty/": b""},
        {"a": b"1", "sub/b": b"2"},
        {"a": b"1", "sub/b": b"2", "empty": b""},
        {"a": b"1", "b": b"2", "sub/": b"", "empty/": b""},
        {"a": b"", "1sub/b": b"2", "empty/": b""},
        {},
    ]
    digests = {write_folder(tmp_path / str(number), {**other, "./": b""}).digest for number, other in enumerate(others)}
    assert len(others) == len(digests - {first.digest})


def test_size_and_time_of_a_folder_are_those_of_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "model"
    written = write_folder(path, {"a": b"123", "sub/deep/b": b"45"})
    assert written.size == 5
    assert (written.size, written.mtime_ns) == LOCAL.stat(str(path))
    newest = written.mtime_ns + 10**9
    os.utime(path / "sub" / "deep" / "b", ns=(newest, newest))
    assert (5, newest) == LOCAL.stat(str(path))
    assert {"model": (-2, 0)} == LOCAL.stats(str(tmp_path))


def test_the_order_in_which_a_folder_is_listed_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_folder(tmp_path / "model", {"a": b"1", "b": b"2", "sub/c": b"3", "sub/d": b"4"})
    real = os.scandir

    @contextmanager
    def backwards(folder: Any) -> Iterator[Any]:
        with real(folder) as entries:
            yield reversed(list(entries))

    monkeypatch.setattr("d6tpipe.storage.files.os.scandir", backwards)
    assert before.digest == LOCAL.digest(str(tmp_path / "model"))


def test_what_vanishes_from_a_folder_while_it_is_looked_at_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    write_folder(path, {"a": b"123", "b": b"45", "sub/c": b"6"})
    real = os.scandir

    @contextmanager
    def vanishing(folder: Any) -> Iterator[Any]:
        with real(folder) as entries:
            found = list(entries)
            for entry in found:
                if entry.name == "b":
                    os.unlink(entry.path)
                elif entry.name == "sub":
                    entry.stat(follow_symlinks=False)  # known as a folder, gone when it is listed
                    shutil.rmtree(entry.path)
            yield iter(found)

    monkeypatch.setattr("d6tpipe.storage.files.os.scandir", vanishing)
    found = LOCAL.stat(str(path))
    assert found is not None and found[0] == 3


def test_a_folder_is_as_new_as_the_newest_folder_in_it(tmp_path: Path) -> None:
    def fill(temporary: str) -> None:
        os.makedirs(os.path.join(temporary, "sub"))
        Path(temporary, "a").touch()
        os.utime(os.path.join(temporary, "a"), ns=(10**18, 10**18))
        os.utime(os.path.join(temporary, "sub"), ns=(3 * 10**18, 3 * 10**18))

    written = LOCAL.write(str(tmp_path / "model"), fill)
    assert 3 * 10**18 == written.mtime_ns
    assert (0, 3 * 10**18) == LOCAL.stat(str(tmp_path / "model"))


def test_a_file_removed_from_a_folder_changes_its_time(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_folder(path, {"a": b"", "sub/b": b""})
    for inner in (path / "a", path / "sub" / "b", path / "sub", path):
        os.utime(inner, ns=(10**18, 10**18))
    assert (0, 10**18) == LOCAL.stat(str(path))
    (path / "sub" / "b").unlink()
    assert (0, 10**18) != LOCAL.stat(str(path))


@posix
def test_links_in_a_folder_count_as_the_file_or_the_folders_name_that_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")

    def fill(temporary: str) -> None:
        os.mkdir(temporary)
        os.symlink(tmp_path / "file", os.path.join(temporary, "to a file"))
        os.symlink(tmp_path, os.path.join(temporary, "round"))  # a circle
        os.symlink("nowhere", os.path.join(temporary, "broken"))

    written = LOCAL.write(str(tmp_path / "model"), fill)
    assert (written.size, written.mtime_ns) == LOCAL.stat(str(tmp_path / "model"))
    assert written.size == 5
    (tmp_path / "file").write_bytes(b"54321")
    assert written.digest != LOCAL.digest(str(tmp_path / "model"))


@posix
def test_what_leads_nowhere_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"123")
    (tmp_path / "good").symlink_to("real")
    (tmp_path / "bad").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to the folder").symlink_to("folder")
    found = LOCAL.stats(str(tmp_path))
    assert LOCAL.listing(str(tmp_path)) == set(found) == {"real", "good", "folder", "to the folder"}
    assert found["real"] == found["good"] == LOCAL.stat(str(tmp_path / "good"))
    assert found["folder"] == found["to the folder"] == (-2, 0)
    assert LOCAL.stat(str(tmp_path / "bad")) is None


@pytest.mark.parametrize("name", ["missing", "file/below", "x" * 300, "nul\0"])
def test_where_nothing_can_be_there_is_no_size(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not LOCAL.exists(str(tmp_path / name))
    assert LOCAL.stat(str(tmp_path / name)) is None


def test_a_question_leaves_no_open_file(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no list of open files")
    write_folder(tmp_path / "model", {"a": b"1"})
    before = set(os.listdir(folder))
    LOCAL.stats(str(tmp_path))
    LOCAL.stats(str(tmp_path / "missing"))
    LOCAL.stat(str(tmp_path / "model"))
    LOCAL.digest(str(tmp_path / "model"))
    assert set(os.listdir(folder)) <= before  # others may have closed some meanwhile


@posix
def test_a_folder_that_may_not_be_read_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    root = os.geteuid() == 0
    if root:
        tmp_path.chmod(0o755)
        for above in tmp_path.parents[:3]:
            above.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match="Cannot list a folder"):
            LOCAL.stats(str(tmp_path / "closed"))
        with pytest.raises(StorageError, match=r"(?s)Cannot read a file.*who may read"):
            LOCAL.digest(str(tmp_path / "closed"))
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "closed").chmod(0o755)


# -- several files -----------------------------------------------------------------------------------------


def test_several_thousand_files_can_be_written_together(tmp_path: Path) -> None:
    """Neither a nested call nor an open file for each of them."""
    with LOCAL.together() as group:
        for number in range(3000):
            group.write_stream(str(tmp_path / str(number)), lambda stream: None)
    assert 3000 == len(os.listdir(tmp_path))


def test_if_a_rename_is_refused_the_files_after_it_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "2" / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match="Cannot write a file"), LOCAL.together() as group:
        for number in range(1, 4):
            group.write_stream(str(tmp_path / str(number)), lambda stream: None)
    assert {"1", "2"} == set(os.listdir(tmp_path))


def test_folders_can_be_written_together(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"old": b""})

    def fill(temporary: str) -> None:
        os.mkdir(temporary)
        Path(temporary, "new").touch()

    with LOCAL.together() as group:
        group.write(str(tmp_path / "model"), fill)
        assert os.listdir(tmp_path / "model") == ["old"]
    assert os.listdir(tmp_path / "model") == ["new"]


# -- safe from power cuts ----------------------------------------------------------------------------------


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was forced to the disk, and the renames in between: "a.txt", "-> b.txt", "folder/"."""
    log: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        temporary = "temporary" + os.path.splitext(path)[1]
        name = os.path.basename(path)
        log.append((temporary if name.startswith(".tmp-") else name) + ("/" if os.path.isdir(path) else ""))
        real_fsync(descriptor)

    def replace(one: str, other: str) -> None:
        log.append(f"-> {os.path.basename(other)}")
        real_replace(one, other)

    monkeypatch.setattr("d6tpipe.storage.files.os.fsync", fsync)
    monkeypatch.setattr("d6tpipe.storage.files.os.replace", replace)
    return log


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file is meant")


@linux
@both
def test_durable_forces_the_file_before_the_rename_and_its_name_after(
    save: Callable[[Path, bytes], Written], forced: list[str], tmp_path: Path
) -> None:
    with settings.override(durable=True):
        save(tmp_path / "x.bin", b"1")
    assert ["temporary.bin", "-> x.bin", f"{tmp_path.name}/"] == forced


@linux
@both
def test_nothing_is_forced_unless_asked_for(
    save: Callable[[Path, bytes], Written], forced: list[str], tmp_path: Path
) -> None:
    save(tmp_path / "sub" / "x.bin", b"1")
    assert ["-> x.bin"] == forced


@linux
def test_durable_forces_the_names_of_new_folders(forced: list[str], tmp_path: Path) -> None:
    with settings.override(durable=True):
        write_stream(tmp_path / "a" / "b" / "x.bin", b"1")
        LOCAL.ensure_folder(str(tmp_path / "c"))
        LOCAL.ensure_folder(str(tmp_path / "c"))
    home = f"{tmp_path.name}/"
    assert sorted(["a/", home]) == sorted(forced[:2])
    assert ["temporary.bin", "-> x.bin", "b/", home] == forced[2:]


@linux
def test_durable_forces_all_that_is_in_a_folder(forced: list[str], tmp_path: Path) -> None:
    with settings.override(durable=True):
        write_folder(tmp_path / "model", {"a.txt": b"1", "sub/b.txt": b"2"})
    renamed = forced.index("-> model")
    assert {"a.txt", "b.txt", "sub/", "temporary/"} == set(forced[:renamed])
    assert [f"{tmp_path.name}/"] == forced[renamed + 1 :]


@linux
def test_a_file_system_that_cannot_force_folders_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr("d6tpipe.storage.files.os.fsync", fsync)
    with settings.override(durable=True):
        write_stream(tmp_path / "x", b"1")


@both
def test_a_disk_that_fails_to_force_is_an_error_and_the_old_content_stays(
    save: Callable[[Path, bytes], Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    save(tmp_path / "x", b"old")
    monkeypatch.setattr("d6tpipe.storage.files.os.fsync", fsync)
    with settings.override(durable=True), pytest.raises(StorageError, match=os.strerror(errno.EIO)):
        save(tmp_path / "x", b"new")
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"
