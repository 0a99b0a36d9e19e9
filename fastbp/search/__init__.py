"""Searches for the best parameters: one process, one copy of the data, trainings that go on."""

from __future__ import annotations

from fastbp.search.cv import SearchCV

__all__ = ["SearchCV"]
