"""What people type: the command ``fastbp``.

``entry`` runs a command and turns its faults into exit codes, ``arguments`` says what may be typed, ``report`` what is
said. Each command has a module of its name with ``run(arguments)``, which is imported when the command is given.
"""

from __future__ import annotations

from fastbp.cli.entry import main

__all__ = ["main"]
