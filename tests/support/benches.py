"""Makes `bench` importable: the package of the benchmarks, which lies in the checkout and is not installed."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if "bench" not in sys.modules:
    _folder = ROOT / "bench"
    _spec = spec_from_file_location("bench", _folder / "__init__.py", submodule_search_locations=[str(_folder)])
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["bench"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["bench"])
