"""A plain luigi pipeline, run by d6tpipe: no line of the tasks knows about it."""

from __future__ import annotations

import luigi

import d6tpipe


class Readings(luigi.Task):
    """Made-up temperatures of one day."""

    day = luigi.IntParameter()

    def output(self):
        return luigi.LocalTarget(f"luigi_data/readings-{self.day}.txt")

    def run(self):
        with self.output().open("w") as file:
            for hour in range(24):
                file.write(f"{10 + self.day + abs(12 - hour) % 5}\n")


class Mean(luigi.Task):
    """Their mean."""

    day = luigi.IntParameter()

    def requires(self):
        return Readings(day=self.day)

    def output(self):
        return luigi.LocalTarget(f"luigi_data/mean-{self.day}.txt")

    def run(self):
        with self.input().open() as file:
            values = [int(line) for line in file]
        with self.output().open("w") as file:
            file.write(f"{sum(values) / len(values):.2f}")


class Week(luigi.WrapperTask):
    """All days."""

    def requires(self):
        return [Mean(day=day) for day in range(1, 8)]


if __name__ == "__main__":
    d6tpipe.run(Week())  # in place of luigi.build([Week()], local_scheduler=True)
    for task in Week().requires():
        with task.output().open() as file:
            print(f"day {task.day}: {file.read()}")
