"""Every activation and its derivative against its twin in reference.py, by enumeration of the kernels' table."""

import math

import numpy as np
import pytest

from fastbp import reference
from fastbp.kernels import activations
from fastbp.kernels.activations import TABLE
from tests.kernels.oracles import BOUNDSCHECK, INTERPRETED, Guarded, compiled, ulp

NAMES = [name for name, pair in TABLE.items() if pair[0]]
# Values and derivatives in units of the last place of the larger of 1 and |value|: what is near 0 because two numbers
# cancel (1 - a^2 far out) is right to the size of those numbers.
ULPS = 16
KINKS = [-3.0, -1.0, 0.0, 1.0, 3.0]


@compiled
def forward(code, work, z0, a0, count, training):
    activations.forward(code, work, z0, a0, count, training)


@compiled
def backward(code, work, z0, a0, d0, count, scale):
    activations.backward(code, work, z0, a0, d0, count, scale)


def multiplied(name, z, a, delta, scale=1.0):
    """Return delta f'(z) from the kernel."""
    work = Guarded(z, a, delta)
    with np.errstate(all="ignore"):
        backward(activations.CODES[name], work.whole, *work.starts, z.size, scale)
    assert work.intact()
    return work.parts[2].copy()


def points(dtype):
    """Return pre-activations of every size the functions tell apart, kinks and their neighbors included."""
    kinks = np.array(KINKS, dtype)
    near = np.concatenate([np.nextafter(kinks, dtype.type(s)) for s in (-10.0, 10.0)])
    grid = np.linspace(-12, 12, 60 if INTERPRETED else 2000)
    far = np.array([-80.0, -30.0, -20.0, 20.0, 30.0, 80.0, 1e-6, -1e-6, 1e-20, -1e-20])
    z = np.concatenate([kinks, near, grid.astype(dtype), far.astype(dtype)])
    return np.concatenate([z, np.zeros(-len(z) % 16, dtype)])


def passed(name, z, training):
    """Return what lies in place of z, and a, after the kernel's forward pass."""
    work = Guarded(z, np.zeros_like(z))
    with np.errstate(all="ignore"):
        forward(activations.CODES[name], work.whole, *work.starts, z.size, training)
    assert work.intact()
    return [part.copy() for part in work.parts]


def run(name, z):
    """Return f(z), f'(z) from the kernels, as a layer calls them."""
    kept, a = passed(name, z, False)
    assert np.array_equal(kept, z, equal_nan=True)
    kept, again = passed(name, z, True)
    assert np.array_equal(again, a, equal_nan=True)
    if name not in activations.NEEDS_Z:
        assert np.array_equal(kept, z, equal_nan=True)
        kept = np.full_like(z, np.nan)  # is not looked at
    return a, multiplied(name, kept, a, np.ones_like(z))


def test_every_activation_has_a_twin():
    assert list(activations.CODES) == list(TABLE)
    assert set(TABLE) == set(reference.ACTIVATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_derivative(name, dtype):
    z = points(dtype)
    a, prime = run(name, z)
    f, f_prime = reference.ACTIVATIONS[name]
    with np.errstate(over="ignore"):
        want = np.array([f(float(v)) for v in z])
        slope = np.array([f_prime(float(v)) for v in z])
    limit = np.finfo(dtype).max
    keep = (np.abs(want) < limit) & (np.abs(slope) < limit)  # overflow is in test_extremes
    if name == "hard_sigmoid":  # beside its kink a rounds to 0 or 1, and f' is read off a
        keep &= (np.abs(z) == 3.0) | (np.abs(np.abs(z) - 3.0) > 16 * np.finfo(dtype).eps)
    for got, expected in ((a, want), (prime, slope)):
        size = np.maximum(1.0, np.abs(expected[keep]))
        error = np.abs(got[keep] - expected[keep]) / ulp(size, dtype)
        worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
        assert error[worst] <= ULPS * max(1.0, abs(z[keep][worst])), (
            f"{name} at {z[keep][worst]!r}: {got[keep][worst]!r}, not {expected[keep][worst]!r}"
        )


@pytest.mark.parametrize("name", NAMES)
def test_numpy_route(name, dtype):
    """The functions are plain Python over lanes: NumPy arrays give what the compiled loops give, to a few ulp."""
    f, prime = TABLE[name]
    z = points(dtype)
    a, slope = run(name, z)
    with np.errstate(all="ignore"):
        mine = f(z)
        their = prime(z, mine) if name in activations.NEEDS_Z else prime(mine)
    assert mine.dtype == their.dtype == dtype
    for got, want in ((mine, a), (their, slope)):
        size = np.maximum(1.0, np.maximum(np.abs(want), np.abs(z) if name in activations.NEEDS_Z else 0.0))
        beside = np.abs(np.abs(z) - 3.0) < 16 * np.finfo(dtype).eps if name == "hard_sigmoid" else False
        assert np.all(beside | (got == want) | (np.abs(got - want) <= 8 * ulp(size, dtype)))


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_the_slope(name):
    """Finite differences, away from the kinks: f' belongs to f whatever the reference says."""
    z = np.linspace(-6, 6, 96) + 0.0123
    step = 1e-6
    a, prime = run(name, z)
    up, _ = run(name, z + step)
    down, _ = run(name, z - step)
    assert np.allclose(prime, (up - down) / (2 * step), rtol=1e-6, atol=2e-8)


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_never_hidden(name, dtype):
    z = np.linspace(-2, 2, 32).astype(dtype)
    clean, _ = run(name, z)
    z[::3] = np.nan
    a, _ = run(name, z)
    assert np.array_equal(np.isnan(a), np.isnan(z))
    assert np.array_equal(a[~np.isnan(a)], clean[~np.isnan(z)])


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_delta_stays_nan(name, dtype):
    """Divergence found by a later layer passes through, dead units (f' = 0) included."""
    z = np.linspace(-4, 4, 32).astype(dtype)
    kept, a = passed(name, z, True)
    assert np.all(np.isnan(multiplied(name, kept, a, np.full(32, np.nan, dtype))))


@pytest.mark.parametrize("name", NAMES)
def test_extremes(name, dtype):
    """Far out the value is the reference's, and no derivative is NaN while everything is finite."""
    far = 1e4
    z = np.array([-far, far, -700.0, 700.0, -100.0, 100.0, -1e30, 1e30] * 4, dtype)
    a, prime = run(name, z)
    for v, got, slope in zip(z, a, prime, strict=True):
        with np.errstate(over="ignore"):
            want = dtype.type(reference.ACTIVATIONS[name].f(float(v)))
        assert got == want or abs(got - want) <= ULPS * ulp(max(1.0, abs(float(want))), dtype)
        if math.isfinite(want):
            assert math.isfinite(slope)


@pytest.mark.parametrize("name", NAMES)
def test_flags_of_the_table(name):
    """NEEDS_Z and MOVES_ZERO say what the functions do."""
    z = np.linspace(-2, 2, 32)
    kept, a = passed(name, z, True)
    assert np.array_equal(kept, z) == (name not in activations.NEEDS_Z)
    without_z = multiplied(name, np.full(32, np.nan), a, np.ones(32))
    assert np.any(np.isnan(without_z)) == (name in activations.NEEDS_Z)
    at_zero, _ = run(name, np.zeros(16))
    assert np.all(at_zero != 0.0) == (activations.CODES[name] in activations.MOVES_ZERO)
    assert np.all(at_zero == at_zero[0])


@pytest.mark.parametrize("name", NAMES)
def test_backward_multiplies_and_undoes_dropout(name, dtype, rng):
    """D = D f'(z) where a arrives divided by dropout's keep rate."""
    z = rng.normal(size=32).astype(dtype)
    _, prime = run(name, z)
    kept, a = passed(name, z, True)
    delta = rng.normal(size=32).astype(dtype)
    keep = 0.75
    D = multiplied(name, kept, (a / dtype.type(keep)).astype(dtype), delta, keep)
    kinked = (np.abs(prime) > 0) & np.isin(
        name, ["hard_tanh", "hard_sigmoid"]
    )  # a / keep * keep may round to 1
    smooth = ~kinked | (np.abs(a) < 0.99)
    assert np.allclose(D[smooth], (delta * prime)[smooth], rtol=0, atol=40 * np.finfo(dtype).eps)


def test_identity_changes_nothing(dtype, rng):
    """Code 0 has no functions: a is z, delta stays."""
    assert activations.CODES["identity"] == 0
    assert TABLE["identity"] == (None, None)


def test_a_block_of_rows_and_nothing_else(dtype):
    code = activations.CODES["relu"]
    z = np.linspace(-1, 1, 64).astype(dtype)
    work = Guarded(z, np.zeros(32, dtype))
    forward(code, work.whole, work.start + 16, work.starts[1], 32, True)
    assert np.array_equal(work.content, z)
    assert np.array_equal(work.parts[1], np.maximum(z[16:48], 0))
    assert work.intact()


@pytest.mark.skipif(
    not (BOUNDSCHECK or INTERPRETED), reason="reach is checked under NUMBA_BOUNDSCHECK=1 only"
)
def test_reaching_outside_raises(dtype):
    code = activations.CODES["tanh"]
    work = np.zeros(48, dtype)
    for places in ((17, 0), (0, 17), (-1, 0), (0, -1)):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            forward(code, work, *places, 32, False)
    for name, *places in (("tanh", 0, 17, 0), ("tanh", 0, 0, 17), ("gelu", 17, 0, 0), ("gelu", -1, 0, 0)):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            backward(activations.CODES[name], work, *places, 32, 1.0)
