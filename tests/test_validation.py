"""Parameters: what is refused."""

import numpy as np
import pytest

from fastbp import arrays, validation


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: validation.check_count(1.0, "n"), TypeError),
        (lambda: validation.check_count(True, "n"), TypeError),
        (lambda: validation.check_count(0, "n"), ValueError),
        (lambda: validation.check_number("1", "n"), TypeError),
        (lambda: validation.check_number(False, "n"), TypeError),
        (lambda: validation.check_number(np.nan, "n"), ValueError),
        (lambda: validation.check_number(2, "n", 0, 1), ValueError),
        (lambda: arrays.resolve_dtype("float16"), TypeError),
        (lambda: arrays.resolve_dtype(None), TypeError),
        (lambda: arrays.resolve_dtype("number"), TypeError),
        (lambda: validation.parse_call("a b", "n"), ValueError),
        (lambda: validation.check_choice(["a"], "n", ("a",)), ValueError),
    ],
)
def test_scalars(call, error):
    with pytest.raises(error):
        call()
