"""Many models in one call: each trained as if it were alone, side by side on all cores."""

from __future__ import annotations

from fastbp.many.fit import fit_many
from fastbp.many.predict import predict_many
from fastbp.many.stack import Stack

__all__ = ["Stack", "fit_many", "predict_many"]
