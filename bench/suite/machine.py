"""The machine: which BLAS kernels a process of this suite has, so that every result names them."""

from bench import fair

from . import Benchmark


class Blas(Benchmark):
    """Each BLAS by name; an error if its kernels are slower than the processor allows: no comparison would be fair."""

    process = fair.report()
    kernels = {fair.describe(kernel): kernel for kernel in process["kernels"]}
    params = [list(kernels) or ["none"]]
    param_names = ["library"]
    unit = "threads"

    def track_threads(self, name):
        """On how many threads it runs."""
        if reasons := fair.reasons(self.process, fair.level()):
            raise RuntimeError("; ".join(reasons))
        return self.kernels[name]["threads"] if self.kernels else 0
