"""``python -m d6tpipe`` is the command ``d6tpipe``."""

from __future__ import annotations

import sys

from d6tpipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
