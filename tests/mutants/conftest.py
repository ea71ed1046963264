"""Finds the modules beside this one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # some of the tests that are run look into /proc
