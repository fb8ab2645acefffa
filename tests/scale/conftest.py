"""Without the extra `ray` (pyarrow is a part of it) these tests cannot even be imported."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("pyarrow") else ["test_*.py"]
