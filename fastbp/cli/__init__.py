"""What people type: the command ``fastbp``."""

from __future__ import annotations

from fastbp.cli.arguments import main

__all__ = ["main"]
