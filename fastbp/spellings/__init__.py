"""How other libraries spell the entries of `fastbp.reference`, a row for each, and what a name that is typed means."""

from fastbp.spellings import activations, losses, optimizers
from fastbp.spellings.names import Call, Names, Spelling, did_you_mean

__all__ = ["Call", "Names", "Spelling", "activations", "did_you_mean", "losses", "optimizers"]
