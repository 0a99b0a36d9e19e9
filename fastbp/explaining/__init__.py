"""The worked example of backpropagation: every number of a forward and a backward pass, with its formula.

``problem`` is what is explained: a network and some rows. ``passage`` has the numbers, as the reference computes them,
``entries`` their formulas, and ``steps`` both, for one step or more; ``agreement`` lets the kernels compute them too.
``text`` lays them out for a terminal, ``document`` as JSON, ``picture`` draws them. ``network`` is `fastbp.explain`;
what is typed after ``fastbp explain`` is read in `fastbp.cli.explain`.
"""

from fastbp.explaining.network import NetworkExplanation, explain

__all__ = ["NetworkExplanation", "explain"]
