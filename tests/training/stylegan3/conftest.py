"""The names by which NVIDIA's snapshots are pickled."""

import sys
import types

import pytest

from tests.training.stylegan3.snapshot_files import EasyDict, _reconstruct_persistent_obj


@pytest.fixture
def nvidia_names(monkeypatch):
    """Modules by whose names these objects are pickled."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")
    persistence._reconstruct_persistent_obj, util.EasyDict = _reconstruct_persistent_obj, EasyDict
    for module in (types.ModuleType("torch_utils"), types.ModuleType("dnnlib"), persistence, util):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(_reconstruct_persistent_obj, "__module__", "torch_utils.persistence")
    monkeypatch.setattr(EasyDict, "__module__", "dnnlib.util")
