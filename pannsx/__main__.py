"""``python -m pannsx``: the command line, without the ``pannsx`` script on the path."""

from __future__ import annotations

import sys

from pannsx.cli import main

if __name__ == "__main__":
    sys.exit(main())
