"""d6tflow's ``pipes``: the names are here, what they did is not built yet.

d6tflow pushed and pulled task outputs through another package and its server. Until d6tpipe has file exchange of its
own, each of these functions says so and names the way that works today.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from d6tpipe.errors import PipeError

__all__ = [
    "all_pull",
    "all_pull_preview",
    "all_push",
    "all_push_preview",
    "get_dirpath",
    "get_pipe",
    "init",
    "init_pipe",
    "set_default",
]


def _not_built(name: str, purpose: str) -> Callable[..., NoReturn]:
    """Return a stand-in for ``pipes.<name>`` that takes any arguments and explains itself."""

    def stand_in(*args: Any, **kwargs: Any) -> NoReturn:
        raise PipeError(
            f"d6tflow.pipes.{name} is not built yet: d6tpipe 2.0 does not push or pull files",
            facts={
                "asked for": purpose,
                "instead": "share the data folder itself: a network drive, a synchronised folder, a copy",
                "its tasks": "d6tflow.FlowExport writes them to a module, d6tflow.FlowImport reads it elsewhere",
            },
            hint="Point d6tflow.set_dir('<shared folder>') at the data and remove the calls of d6tflow.pipes.",
        )

    stand_in.__name__ = stand_in.__qualname__ = name
    stand_in.__doc__ = f"Raise a `PipeError`: to {purpose} is not built yet."
    return stand_in


init = _not_built("init", "connect to the default pipe and use its folder for data")
init_pipe = _not_built("init_pipe", "connect to one pipe")
get_pipe = _not_built("get_pipe", "get the connection of one pipe")
get_dirpath = _not_built("get_dirpath", "get the local folder of one pipe")
set_default = _not_built("set_default", "make another pipe the default")
all_pull = _not_built("all_pull", "download the files of a task and everything upstream of it")
all_pull_preview = _not_built("all_pull_preview", "list the files that a pull would download")
all_push = _not_built("all_push", "upload the files of a task and everything upstream of it")
all_push_preview = _not_built("all_push_preview", "list the files that a push would upload")
