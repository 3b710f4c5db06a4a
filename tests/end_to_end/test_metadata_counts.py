"""Metadata are part of what a task hands on: what reads them runs again when they change."""

from __future__ import annotations

import d6tpipe

SCORE = {"value": 1}


class Fit(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.saveMeta({"score": SCORE["value"]})
        self.save("the same model")


@d6tpipe.requires(Fit)
class Report(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(self.metaLoad()["score"])


def test_changed_metadata_run_what_reads_them(monkeypatch):
    d6tpipe.run(Report(), execution_summary=False)
    monkeypatch.setitem(SCORE, "value", 2)
    d6tpipe.run(Report(), stale="rerun", execution_summary=False)
    assert 2 == Report().outputLoad()


def test_equal_metadata_do_not(monkeypatch):
    d6tpipe.run(Report(), execution_summary=False)
    Fit().reset(confirm=False)
    assert "cached" == d6tpipe.run(Report(), execution_summary=False).states[Report()]
