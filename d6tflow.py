"""``import d6tflow`` gives ``d6tpipe``: package and submodules are the same objects under both names.

Code, notebooks and pickles written for d6tflow keep working. This is a module file and not a package folder
on purpose: where a real d6tflow is installed, Python finds that one first and neither harms the other.

Type checkers cannot see through the alias (there is no folder ``d6tflow``): use ``d6tpipe`` in new code.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any

ALIAS = "d6tflow"
REAL = "d6tpipe"


def _real(name: str) -> str:
    """Return the d6tpipe name of a d6tflow module name."""
    return REAL + name[len(ALIAS) :]


class _AliasFinder:
    """Answer every ``d6tflow.<sub>`` with the module ``d6tpipe.<sub>``.

    Putting only the package into ``sys.modules`` is not enough: each submodule would be loaded a second time
    under its other name, with a second copy of every class in it.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(ALIAS + "."):
            return None
        # This is called under the import system's global lock, so it must not import anything (two threads
        # would wait for each other). importlib.util.find_spec imports the parent; PathFinder only looks.
        found = PathFinder.find_spec(_real(name), path)
        if found is None:
            return None
        is_package = found.submodule_search_locations is not None
        return ModuleSpec(name, self, origin=found.origin, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None: an ordinary empty module, which exec_module throws away.

        Handing out the real module here would let the import system overwrite its ``__spec__``.
        """
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import statement hands out what sys.modules holds when this returns.
        sys.modules[module.__name__] = importlib.import_module(_real(module.__name__))

    def get_code(self, name: str) -> CodeType | None:
        """Return the code that ``python -m d6tflow.<sub>`` runs."""
        spec = importlib.util.find_spec(_real(name))
        loader: Any = spec and spec.loader
        return loader.get_code(_real(name)) if loader else None


def __getattr__(name: str) -> Any:
    # Another thread may have got hold of this module before the last line below replaced it.
    return getattr(importlib.import_module(REAL), name)


if __name__ == "__main__":
    from d6tpipe.cli import main

    sys.exit(main())

# Order matters: while d6tpipe loads (a quarter of a second), another thread may already import d6tflow.<sub>.
# It needs __path__ to take this module for a package, and the finder so as not to load that submodule twice.
_package = importlib.util.find_spec(REAL)
if _package is None:
    raise ModuleNotFoundError(f"{ALIAS} is an alias of {REAL}, and {REAL} is not installed", name=REAL)
__path__ = list(_package.submodule_search_locations or ())
sys.meta_path.insert(0, _AliasFinder())
sys.modules[__name__] = importlib.import_module(REAL)
