"""What several tests of the cache need."""

import pytest

from fastbp.kernels.machine import cache


@pytest.fixture
def fresh_choice(monkeypatch):
    """Let cache_dir choose anew, from an environment without any of its variables."""
    for name in ("FASTBP_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache.cache_dir.cache_clear()
    yield monkeypatch
    cache.cache_dir.cache_clear()
