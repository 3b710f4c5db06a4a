"""The tasks of `executors_worker`, in a module that workers import: d6tpipe's classes travel by name then."""

from __future__ import annotations

from time import sleep

import d6tpipe


class Nap(d6tpipe.tasks.TaskPickle):
    number = d6tpipe.IntParameter()

    def run(self):
        sleep(1)
        self.save(self.number)


class Tiny(d6tpipe.tasks.TaskPickle):
    number = d6tpipe.IntParameter()

    def run(self):
        self.save(self.number)


class Silent(d6tpipe.tasks.TaskPickle):
    """A body that does nothing, and nothing to save: what is left is the way there and back, and the lock."""

    number = d6tpipe.IntParameter()

    def output(self):
        return []

    def run(self):
        pass


class Link(d6tpipe.tasks.TaskPickle):
    """One after the other: nothing can be sent together."""

    number = d6tpipe.IntParameter()
    chain = d6tpipe.IntParameter()

    def requires(self):
        return [Link(number=self.number - 1, chain=self.chain)] if self.number else []

    def run(self):
        self.save(self.number)
