"""The machine: which BLAS kernels a process of this suite has, so that every result names them."""

import json
import subprocess
import sys

from bench import fair

from . import Benchmark


def started():
    """What a process like this one has, with NumPy's and SciPy's BLAS loaded: here that depends on the commit."""
    code = (
        f"import json, sys; sys.path.append({str(fair.ROOT)!r}); import scipy.linalg; from bench import fair;"
        " print(json.dumps(fair.report()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class Blas(Benchmark):
    """Each BLAS by name; an error if its kernels are slower than the processor allows: no comparison would be fair."""

    process = started()
    kernels = {fair.describe(kernel): kernel for kernel in process["kernels"]}
    params = [list(kernels) or ["none"]]
    param_names = ["library"]
    unit = "threads"

    def track_threads(self, name):
        """On how many threads it runs."""
        if reasons := fair.reasons(self.process, fair.level()):
            raise RuntimeError("; ".join(reasons))
        return self.kernels[name]["threads"] if self.kernels else 0
