"""What goes to workers that do not see the data folder, and what comes back."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xxhash

import d6tpipe
from d6tpipe.errors import StorageError
from d6tpipe.shipping import Depot, Packed, Parcel, Shipper, bring_back
from d6tpipe.tasks.outputs import in_mirror, out_of_mirror

BIG = 300_000


class Big(d6tpipe.tasks.TaskPickle):
    def run(self) -> None:
        self.save(os.urandom(BIG))


class Reads(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()

    def requires(self) -> Any:
        return Big()

    def run(self) -> None:
        self.save(len(self.inputLoad()))


class Counting(ProcessPoolExecutor):
    """Notes how many bytes of files go with each piece of work."""

    remote = True
    breaks = True

    def __init__(self, n_workers: int) -> None:
        super().__init__(n_workers, mp_context=multiprocessing.get_context("forkserver"))
        self.sent: list[int] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.sent.append(sum([len(data) for data in args[5].values()]))
        return super().submit(function, *args, **kwargs)


def test_a_file_is_sent_to_each_worker_once() -> None:
    Big().save(os.urandom(BIG))
    with Counting(2) as executor:
        d6tpipe.run([Reads(i=i) for i in range(20)], executor=executor, workers=2)
    assert {Reads(i=i).outputLoad() for i in range(20)} == {BIG}
    whole = [sent for sent in executor.sent if sent >= BIG]
    assert 1 <= len(whole) <= 3  # to the first, and to each that asked for it; some may have asked at once
    assert sum(executor.sent) == sum(whole)


def test_what_a_worker_has_made_is_not_sent_back_to_it() -> None:
    with Counting(1) as executor:
        d6tpipe.run([Reads(i=i) for i in range(3)], executor=executor, workers=1)
    sent = [size for size in executor.sent if size >= BIG]
    assert len(sent) <= 1


@pytest.mark.parametrize("path", ["/home/me/data/Up/Up_1.pkl", "/a"])
def test_a_path_in_the_mirror_stands_for_one_path(path: str) -> None:
    where = in_mirror(path, "/tmp/mirror")
    assert where.startswith("/tmp/mirror/")
    assert out_of_mirror(where, "/tmp/mirror") == path


def test_what_arrives_must_be_what_was_sent() -> None:
    depot = Depot()
    with pytest.raises(StorageError, match="did not arrive"):
        depot.unpack([Parcel("/data/a", (("", b"\0" * 16),), False)], {b"\0" * 16: b"other"})


def test_a_file_that_was_changed_on_the_worker_is_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    task = type("Here", (d6tpipe.tasks.TaskPickle,), {"output": lambda self: d6tpipe.targets.PickleTarget(path)})
    path = str(tmp_path / "a")
    shipper, depot = Shipper(), Depot()
    parcel = shipper.parcels([task()])[0]
    digest = parcel.files[0][1]
    assert depot.unpack([parcel], {}) == [digest]
    assert depot.unpack([parcel], shipper.first_time([parcel])) == []
    assert shipper.first_time([parcel]) == {}
    assert depot.unpack([parcel], {}) == []
    Path(in_mirror(path, depot.folder)).write_bytes(b"changed!!")
    assert depot.unpack([parcel], {}) == [digest]


def test_the_least_used_files_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d6tpipe.shipping._DEPOT_BYTES", 250)
    depot = Depot()
    contents = [bytes([i]) * 100 for i in range(3)]
    digests = [xxhash.xxh3_128_digest(data) for data in contents]
    parcels = [Parcel(f"/data/{i}", (("", digest),), False) for i, digest in enumerate(digests)]
    for parcel, digest, data in zip(parcels, digests, contents, strict=True):
        assert depot.unpack([parcel], {digest: data}) == []
    assert depot.unpack(parcels[1:], {}) == []
    assert depot.unpack(parcels[:1], {}) == digests[:1]
    assert not os.path.exists(in_mirror("/data/0", depot.folder))


def test_all_comes_back_or_nothing(tmp_path: Path) -> None:
    task = Reads(i=1)
    path = str(task.output().path)
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(StorageError):
        bring_back(task, [Packed(path, {"": b"new"}), Packed(str(tmp_path / "file" / "x"), {"": b"cannot be"})])
    assert not os.path.exists(path)
    written = bring_back(task, [Packed(path, {"": b"new"})])
    assert Path(path).read_bytes() == b"new" and set(written) == {"data"}


# ---- folders, leftovers: an executor whose one worker stays


class FolderIn(d6tpipe.tasks.TaskData):
    names = d6tpipe.ListParameter(significant=False)

    def run(self) -> None:
        path = self.output().path
        (path / "empty").mkdir(parents=True)
        for name in self.names:
            (path / name).write_text(name)


class Lists(d6tpipe.tasks.TaskPickle):
    names = d6tpipe.ListParameter(significant=False)

    def requires(self) -> Any:
        return FolderIn(names=self.names)

    def run(self) -> None:
        self.save(sorted(path.name for path in self.input().path.iterdir()))


class SideFile(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()

    def run(self) -> None:
        (self.output().path.parent / "last.txt").write_text(f"last was {self.i}")
        self.save(self.i)


class AtTheRoot(d6tpipe.tasks.TaskPickle):
    target_dir = "."
    i = d6tpipe.IntParameter()

    def run(self) -> None:
        result = d6tpipe.run(SideFile(i=self.i), execution_summary=False)
        self.save((bool(result), SideFile(i=self.i).outputLoad()))


class LinkToNothing(d6tpipe.tasks.TaskData):
    def run(self) -> None:
        path = self.output().path
        path.mkdir(parents=True)
        (path / "link").symlink_to("nowhere")


@pytest.fixture
def worker() -> Any:
    with Counting(1) as executor:
        yield executor


def run(tasks: Any, executor: Any, **options: Any) -> Any:
    return d6tpipe.run(tasks, executor=executor, workers=1, abort=False, execution_summary=False, **options)


def test_what_was_removed_from_an_input_folder_is_removed_on_the_worker(worker: Any) -> None:
    assert run(Lists(names=["a", "b", "c"]), worker).ok
    assert Lists(names=[]).outputLoad() == ["a", "b", "c", "empty"]
    assert run([FolderIn(names=["b"])], worker, forced_all=True).ok
    assert sorted(path.name for path in FolderIn(names=[]).output().path.iterdir()) == ["b", "empty"]
    assert run(Lists(names=["b"]), worker, stale="rerun").ok
    assert Lists(names=[]).outputLoad() == ["b", "empty"]


def test_a_file_beside_the_outputs_is_brought_back_whenever_it_changes(worker: Any) -> None:
    for i in (0, 1, 0):
        assert run(SideFile(i=i), worker, forced_all=True).ok
        assert (SideFile(i=0).output().path.parent / "last.txt").read_text() == f"last was {i}"


def test_what_a_body_runs_is_built_and_recorded_here(worker: Any) -> None:
    assert run(SideFile(i=5), worker).ok
    result = run([AtTheRoot(i=i) for i in (1, 2)], worker)
    assert result.ok, result.failures
    assert AtTheRoot(i=2).outputLoad() == (True, 2)
    again = run([SideFile(i=5), *[AtTheRoot(i=i) for i in (1, 2)], SideFile(i=1)], worker, stale="rerun", dry_run=True)
    assert again.counts == {"fresh": 5} or again.counts == {"fresh": 4}
    assert d6tpipe.log(SideFile(i=5)) == ""


def test_a_link_to_nothing_is_told(worker: Any) -> None:
    (failure,) = run(LinkToNothing(), worker).failures
    assert "link to nothing" in str(failure.error)
    assert not LinkToNothing().output().path.exists()


def test_files_that_a_body_needs_are_not_removed_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d6tpipe.shipping._DEPOT_BYTES", 150)
    depot = Depot()
    parcels, content = [], {}
    for i in range(3):
        data = bytes([i]) * 100
        digest = xxhash.xxh3_128_digest(data)
        parcels.append(Parcel(f"/data/{i}", (("", digest),), False))
        content[digest] = data
    assert depot.unpack(parcels, content) == []
    assert all(os.path.exists(in_mirror(parcel.path, depot.folder)) for parcel in parcels)
