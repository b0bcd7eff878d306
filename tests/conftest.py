"""For all tests: their networks run once or twice, and half of that time went into mapping memory anew."""

from __future__ import annotations

import os

from train.loop.memory import ENVIRONMENT, keep_freed_memory

keep_freed_memory()
os.environ.update(ENVIRONMENT)  # for the processes that tests start
