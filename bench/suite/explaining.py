"""What `fastbp.explain` takes: plain Python and text, for people to read."""

import fastbp as fb

from . import Timed, randn


class Explain(Timed):
    """A network of three layers, explained for one sample."""

    params = [[4, 32]]
    param_names = ["width"]

    def setup(self, width):
        """The network and its sample."""
        if not hasattr(fb, "explain"):  # an earlier commit
            raise NotImplementedError
        layers = [fb.Dense(width, "tanh"), fb.Dense(width, "tanh"), fb.Dense(2)]
        self.net = fb.Sequential(layers, n_inputs=width, dtype="float64", seed=0)
        self.x, self.y = randn(width, dtype="float64"), randn(2, dtype="float64", seed=1)

    def time_explain(self, width):
        """Every number, its formula, and the text."""
        str(fb.explain(self.net, self.x, self.y))
