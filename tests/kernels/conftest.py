"""What the kernel tests share: silence in interpreted arithmetic, and a dtype fixture."""

import numpy as np
import pytest
from numba.core import config

if config.DISABLE_JIT:
    # Compiled arithmetic goes through infinities and NaN in silence; so does the interpreter mode's.
    np.seterr(all="ignore")


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """Both element types that the kernels know."""
    return np.dtype(request.param)
