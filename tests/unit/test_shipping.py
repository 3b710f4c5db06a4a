"""What goes to workers that do not see the data folder, and what comes back."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

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
        depot.unpack([Parcel("/data/a", b"\0" * 16, False)], {b"\0" * 16: b"other"})


def test_a_file_that_was_changed_on_the_worker_is_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    task = type("Here", (d6tpipe.tasks.TaskPickle,), {"output": lambda self: d6tpipe.targets.PickleTarget(path)})
    path = str(tmp_path / "a")
    shipper, depot = Shipper(), Depot()
    (parcel,) = shipper.parcels([task()])
    assert depot.unpack([parcel], {}) == [parcel.digest]
    assert depot.unpack([parcel], shipper.first_time([parcel])) == []
    assert shipper.first_time([parcel]) == {}
    assert depot.unpack([parcel], {}) == []
    Path(in_mirror(path, depot.folder)).write_bytes(b"changed!!")
    assert depot.unpack([parcel], {}) == [parcel.digest]


def test_the_least_used_files_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    import xxhash

    monkeypatch.setattr("d6tpipe.shipping._DEPOT_BYTES", 250)
    depot = Depot()
    contents = [bytes([i]) * 100 for i in range(3)]
    parcels = [Parcel(f"/data/{i}", xxhash.xxh3_128_digest(data), False) for i, data in enumerate(contents)]
    for parcel, data in zip(parcels, contents, strict=True):
        assert depot.unpack([parcel], {parcel.digest: data}) == []
    assert depot.unpack(parcels[1:], {}) == []
    assert depot.unpack(parcels[:1], {}) == [parcels[0].digest]
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
