"""Every implementation of ``Records``, real and fake, against the same suite."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from d6tpipe.records import InputRecord, OutputRecord, Record, Records
from d6tpipe.storage.sqlite_records import SqliteRecords
from d6tpipe.testing import MemoryRecords

MAKERS: dict[str, Callable[[Path], Records]] = {
    "memory": lambda folder: MemoryRecords(),
    "sqlite": SqliteRecords,
    "sqlite, network": lambda folder: SqliteRecords(folder, network=True),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    made = request.param(tmp_path)
    yield made
    made.close()


def full(task_id: str = "Clean_1_ab", family: str = "Clean", **changes: object) -> Record:
    """A record with something in every field."""
    record = Record(
        task_id,
        family,
        module="project.tasks",
        parameters='{"day":"2024-01-01","place":"Zürich \\u2028 \\"x\\""}',
        code_fast="f1",
        code_stable="s1",
        members={"Clean.run": "aa", "helper": "bb"},
        version="3",
        extras={"env": {"HOME": "/x"}, "package": [1, 2.5, None]},
        inputs=[InputRecord("raw", "Raw_1", bytes(range(16))), InputRecord("", "Other_2", b"")],
        dynamic_inputs=[InputRecord("more", "Late_3", b"\xff" * 16)],
        outputs=[
            OutputRecord("data", "/data/clean.pkl", 12, 1_700_000_000_123_456_789, b"\0\1", "pickle"),
            OutputRecord("model", "memory", -1, 0, b"", "cache"),
        ],
        seal=b"\0seal\xff",
        started=1_700_000_000.25,
        seconds=1.5,
        peak_memory=123_456,
        run_id="run-7",
        attempt=2,
        host="box",
        pid=4711,
        boot_id="boot",
        python="3.11.7",
        packages={"pandas": "3.1.1"},
        git_commit="abc+dirty",
        stage="finished",
        accepted=True,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def test_nothing_is_known_of_a_fresh_store(records: Records) -> None:
    assert {} == records.load_hot()
    assert {} == records.load_hot(["Clean"])
    assert records.get("Clean_1_ab") is None
    assert [] == list(records.all())
    assert records.get_source("aa") is None


def test_every_field_comes_back(records: Records) -> None:
    for record in (full(), Record("Bare_1", "Bare"), full("Clean_2", attempt=0, accepted=False)):
        records.write([record])
        assert record == records.get(record.task_id)


def test_hot_rows_hold_stage_digest_and_seal_of_the_wanted_families(records: Records) -> None:
    clean, raw = full(), full("Raw_1", "Raw", stage="saved", seal=b"")
    records.write([clean, raw])
    assert {"Clean_1_ab": ("finished", clean.digest, clean.seal)} == records.load_hot(["Clean", "Missing"])
    assert {"Clean_1_ab", "Raw_1"} == set(records.load_hot())
    assert {} == records.load_hot([])
    assert ("saved", raw.digest, b"") == records.load_hot(["Raw"])["Raw_1"]


def test_timings_have_seconds_stage_and_whether_there_are_metadata(records: Records) -> None:
    built = {"accepted": False, "seconds": 1.5, "extras": {}}
    records.write(
        [
            full("Clean_1", **built, metadata="0f"),
            full("Clean_2", **built, stage="failed", error='ValueError: "metadata":"0f"}'),
            full("Clean_3", **{**built, "extras": {"metadata": "0f", "accepted": True}}),
            full("Clean_4", accepted=True, metadata="0f"),
            full("Clean_5", **built, observed=True),
            Record("Clean_6", "Clean", seconds=2.0),
            full("Raw_1", "Raw"),
        ]
    )
    records.building([("Clean", "Clean_1"), ("Clean", "Clean_7")], "mine")
    found = records.timings(["Clean", "Missing"])
    assert {"Clean_1": 1.5, "Clean_2": 1.5, "Clean_3": 1.5} == {k: s for k, (s, _, _) in found.items() if s == s}
    stages = {f"Clean_{number}": "finished" for number in range(1, 8)}
    stages |= {"Clean_1": "building", "Clean_2": "failed", "Clean_7": "building"}
    assert stages == {task: stage for task, (_, stage, _) in found.items()}
    assert {"Clean_1", "Clean_4"} == {task for task, (_, _, has_metadata) in found.items() if has_metadata}
    assert {} == records.timings([])


def test_an_announced_task_is_building_for_all_but_the_run_that_announced_it(records: Records) -> None:
    records.building([("Clean", "Clean_1_ab")], "mine")
    assert {"Clean_1_ab": ("building", b"", b"")} == records.load_hot(["Clean"])
    assert {"Clean_1_ab": ("building", b"", b"")} == records.load_hot(run_id="other")
    assert {} == records.load_hot(run_id="mine")
    assert "building" == records.get("Clean_1_ab").stage  # type: ignore[union-attr]
    assert records.get("Clean_1_ab", run_id="mine") is None
    assert ["building"] == [record.stage for record in records.all()]


def test_a_task_that_is_built_again_keeps_the_record_from_before(records: Records) -> None:
    record = full()
    records.write([record])
    records.building([("Clean", record.task_id)], "again")
    assert {record.task_id: ("building", record.digest, record.seal)} == records.load_hot()
    assert full(stage="building") == records.get(record.task_id)
    assert record == records.get(record.task_id, run_id="again")
    assert [full(stage="building")] == list(records.all())


def test_a_withdrawn_announcement_leaves_everything_as_it_was(records: Records) -> None:
    record = full()
    records.write([record])
    tasks = [("Clean", record.task_id), ("Clean", "Clean_2")]
    records.building(tasks, "mine")
    records.withdraw(tasks, "mine")
    assert {record.task_id: ("finished", record.digest, record.seal)} == records.load_hot()
    assert [record] == list(records.all())


def test_who_has_announced_a_task_is_known_until_somebody_tells_what_came_of_it(records: Records) -> None:
    record = full()
    task = ("Clean", record.task_id)
    assert records.announcers(*task) == set()
    for run in ("killed", "mine"):
        records.building([task, ("Other", "Other_1")], run)
    assert records.announcers(*task) == {"killed", "mine"}
    records.withdraw([task], "mine")
    assert records.announcers(*task) == {"killed"}
    records.write([record])
    assert records.announcers(*task) == set()
    assert records.announcers("Other", "Other_1") == {"killed", "mine"}


def test_one_run_does_not_withdraw_what_another_announced(records: Records) -> None:
    task = [("Clean", "Clean_1_ab")]
    records.building(task, "dead")
    records.building(task, "mine")
    records.withdraw(task, "mine")
    assert "building" == records.load_hot(run_id="mine")["Clean_1_ab"][0]


def test_a_record_settles_the_announcements_of_all_runs(records: Records) -> None:
    task = [("Clean", "Clean_1_ab")]
    records.building(task, "dead")
    records.building(task, "mine")
    records.write([full()])
    assert "finished" == records.load_hot()["Clean_1_ab"][0]


def test_the_last_record_of_a_task_counts(records: Records) -> None:
    records.write([full(stage="saved")])
    assert "saved" == records.load_hot()["Clean_1_ab"][0]
    records.write([full("Clean_2"), full(seconds=2.0), full(seconds=3.0)])
    assert full(seconds=3.0) == records.get("Clean_1_ab")
    assert ["Clean_2", "Clean_1_ab"] == [record.task_id for record in records.all()]


def test_building_is_no_stage_to_write(records: Records) -> None:
    with pytest.raises(ValueError, match="building"):
        records.write([full(stage="building")])


def test_a_forgotten_task_is_gone_and_the_others_stay(records: Records) -> None:
    records.write([full(), full("Clean_2")])
    records.building([("Raw", "Raw_1"), ("Clean", "Clean_1_ab")], "run")
    records.forget(["Clean_1_ab", "Raw_1", "Unknown_1"])
    assert {"Clean_2"} == set(records.load_hot())
    assert records.get("Clean_1_ab") is None


def test_an_id_that_does_not_begin_with_its_family_is_found(records: Records) -> None:
    record = full("odd", "Some_Family")
    records.write([full("Some_Family_1", "Some_Family"), record, full("Some_1", "Some")])
    assert record == records.get("odd")
    records.building([("Another", "x_1")], "run")
    assert "Another" == records.get("x_1").family  # type: ignore[union-attr]
    records.forget(["odd", "x_1"])
    assert {"Some_Family_1", "Some_1"} == set(records.load_hot())


def test_sources_are_kept_once_per_hash(records: Records) -> None:
    records.put_source("aa", "def helper(): return 'ü'")
    records.put_source("aa", "def helper(): return 'ü'")
    assert "def helper(): return 'ü'" == records.get_source("aa")


def test_a_closed_store_may_be_used_again(records: Records) -> None:
    records.write([full()])
    records.close()
    records.close()
    assert full() == records.get("Clean_1_ab")
    records.write([full("Clean_2")])
    records.flush()
    assert {"Clean_1_ab", "Clean_2"} == set(records.load_hot())


def test_classes_that_share_code_and_runs_that_share_none_keep_their_own(records: Records) -> None:
    members = {"f": "1"}
    made = [full(f"T_{n}", "T", members=members, run_id=f"run-{n % 3}", pid=n % 2) for n in range(12)]
    records.write(made)
    assert made == list(records.all())


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_calls_gives_what_the_fake_gives(seed: int, tmp_path: Path) -> None:
    """The dicts are the oracle; flush, close and a second object in between change nothing."""
    chance = random.Random(seed)
    real, fake = SqliteRecords(tmp_path, network=seed % 4 == 0), MemoryRecords()
    tasks = [(family, f"{family}_{n}") for family in ("A", "A_B", "C") for n in range(4)]
    for step in range(60):
        some = chance.sample(tasks, chance.randrange(1, 4))
        run = chance.choice(["r1", "r2"])
        made = [
            full(task, family, seconds=float(step), run_id=run, stage=chance.choice(["saved", "finished"]))
            for family, task in some
        ]
        act = chance.randrange(7)
        for store in (real, fake):
            if act < 2:
                store.write(made)
            elif act == 2:
                store.building(some, run)
            elif act == 3:
                store.withdraw(some, run)
            elif act == 4:
                store.forget([task for _, task in some])
            elif act == 5:
                store.flush()
            else:
                store.close()
        if act >= 5:
            other = SqliteRecords(tmp_path)
            assert fake.load_hot() == other.load_hot()
            other.close()
        assert fake.load_hot(run_id=run) == real.load_hot(run_id=run)
        assert fake.load_hot(["A", "C"]) == real.load_hot(["A", "C"])
        assert fake.get(some[0][1]) == real.get(some[0][1])
    found = {record.task_id: record for record in real.all()}
    assert {record.task_id: record for record in fake.all()} == found
    real.close()
