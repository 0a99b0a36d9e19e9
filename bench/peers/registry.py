"""Which peers take part in which suite: names, where their subjects are made, and what must be installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.peers import chains, many_models
from bench.peers.workloads import WORKLOADS


@dataclass(frozen=True, slots=True)
class Peer:
    """One contestant in one suite.

    `factory` is "module:callable" below bench.peers, called with a Case in a process of its own.
    """

    name: str
    factory: str
    requires: tuple[str, ...]

    def missing(self) -> str | None:
        """The first required package that is not installed, or None."""
        for module in self.requires:
            if importlib.util.find_spec(module) is None:
                return module
        return None


@dataclass(frozen=True, slots=True)
class Suite:
    """A kind of measurement.

    `cases` are the names of its rows, `unit` what a rate counts, `tolerance` how far the peers' checks may differ
    (relative; float32, float64). `threads` and `dtypes` are the defaults of the suite, `exceptions` the dtypes of
    cases that differ. If `time` says what one unit takes, the report shows durations under that name instead of rates.
    A repeat lasts so many `seconds`, about.
    """

    name: str
    title: str
    cases: tuple[str, ...]
    unit: str
    peers: tuple[Peer, ...]
    tolerance: tuple[float, float] = (1e-2, 1e-4)
    threads: tuple[int, ...] = (1, 2)
    dtypes: tuple[str, ...] = ("float32",)
    exceptions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: str = ""
    seconds: float = 0.5

    def dtypes_of(self, case: str) -> tuple[str, ...]:
        """The default dtypes of a case."""
        return self.exceptions.get(case, self.dtypes)


OURS = "fastbp"
PEAK = Peer("fma-peak", "machine:Peak", ())
_TORCH, _JAX = ("torch",), ("jax",)

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "training",
            "Training",
            tuple(WORKLOADS),
            "samples/s",
            (
                Peer(OURS, "fastbp_peer:Fastbp", ("fastbp",)),
                Peer("sklearn", "sklearn_peer:ScikitLearn", ("sklearn",)),
                Peer("numpy-hand", "numpy_peer:NumpyHand", ()),
                Peer("torch-eager", "torch_peers:TorchEager", _TORCH),
                Peer("torch-fused", "torch_peers:TorchFused", _TORCH),
                Peer("torch-compile", "torch_peers:TorchCompile", _TORCH),
                Peer("torch-hand", "torch_peers:TorchHand", _TORCH),
                Peer("jax-scan", "jax_peers:JaxScan", _JAX),
                Peer("jax-tuned", "jax_peers:JaxTuned", _JAX),
                Peer("keras", "keras_peer:Keras", ("keras",)),
                Peer("skorch", "skorch_peer:Skorch", ("skorch", "torch")),
                PEAK,
            ),
        ),
        Suite(
            "classes",
            "The scikit-learn class, same data and parameters",
            ("tabular-small", "tabular-multi", "mnist-sk"),
            "samples/s",
            (
                Peer(OURS, "classes:Ours", ("fastbp",)),
                Peer("sklearn", "classes:Theirs", ("sklearn",)),
            ),
            threads=(1,),
        ),
        Suite(
            "sparse",
            "The scikit-learn class on a text: 20k sparse rows, 50k columns, 100 hidden units, batch 200",
            ("adam", "lbfgs"),
            "samples/s",
            (
                Peer(OURS, "text:Ours", ("fastbp",)),
                Peer("sklearn", "text:Theirs", ("sklearn",)),
            ),
            threads=(1,),
            # Two epochs of scikit-learn's Adam, twenty iterations of L-BFGS: a fit of one is mostly its first weights.
            seconds=10.0,
        ),
        Suite(
            "many-models",
            "Independent small models, each with its own rows, Adam, 5 epochs",
            tuple(many_models.CASES),
            "samples/s",
            (
                Peer(OURS, "many_models:Fastbp", ("fastbp",)),
                Peer("fastbp-stack", "many_models:FastbpStack", ("fastbp",)),
                Peer("sklearn", "many_models:ScikitLearn", ("sklearn", "joblib")),
                Peer("numpy-hand", "many_models:NumpyHand", ()),
                Peer("torch-vmap", "many_models:TorchVmap", _TORCH),
                Peer("torch-vmap-compile", "many_models:TorchVmapCompile", _TORCH),
                Peer("jax-vmap", "many_models:JaxVmap", _JAX),
                Peer("jax-map", "many_models:JaxMap", _JAX),
            ),
        ),
        Suite(
            "search",
            "A search of 4 widths x 3 penalties over 5 folds, three seeds",
            ("digits", "breast-cancer", "table"),
            "searches/s",
            (
                Peer(OURS, "searching:Fastbp", ("fastbp",)),
                Peer("fastbp-float32", "searching:FastbpFloat32", ("fastbp",)),
                Peer("fastbp-full", "searching:FastbpFull", ("fastbp",)),
                Peer("fastbp-full-float32", "searching:FastbpFullFloat32", ("fastbp",)),
                Peer("fastbp-halving", "searching:OurHalving", ("fastbp", "sklearn")),
                Peer("fastbp-grid", "searching:OurGrid", ("fastbp", "sklearn")),
                Peer("sklearn-halving", "searching:TheirHalving", ("sklearn",)),
                Peer("sklearn-grid", "searching:TheirGrid", ("sklearn",)),
            ),
            # Of the best score: halving may pick another candidate. The report says which, and what it cost.
            tolerance=(2e-2, 2e-2),
            dtypes=("float64",),
            time="time of a search",
        ),
        Suite(
            "latency",
            "One row through 20-64-64-1, from Python",
            ("one-row",),
            "calls/s",
            (
                Peer(OURS, "predicting:Fastbp", ("fastbp",)),
                Peer("fastbp-njit", "predicting:FastbpCompiled", ("fastbp", "numba")),
                Peer("sklearn", "predicting:ScikitLearn", ("sklearn",)),
                Peer("numpy-hand", "predicting:NumpyHand", ()),
                Peer("torch-eager", "predicting:TorchEager", _TORCH),
                Peer("torch-jit", "predicting:TorchJit", _TORCH),
                Peer("jax", "predicting:Jax", _JAX),
                Peer("keras", "predicting:Keras", ("keras",)),
                Peer("skorch", "predicting:Skorch", ("skorch", "torch")),
            ),
            tolerance=(1e-4, 1e-9),
            threads=(1,),
            time="time per call",
        ),
        Suite(
            "predict",
            "100k rows through 784-100-10",
            ("100k-rows",),
            "rows/s",
            (
                Peer(OURS, "predicting:Fastbp", ("fastbp",)),
                Peer("sklearn", "predicting:ScikitLearn", ("sklearn",)),
                Peer("numpy-hand", "predicting:NumpyHand", ()),
                Peer("torch-eager", "predicting:TorchEager", _TORCH),
                Peer("jax", "predicting:Jax", _JAX),
                Peer("keras", "predicting:Keras", ("keras",)),
            ),
            tolerance=(1e-4, 1e-9),
        ),
        Suite(
            "simplechains",
            "The two examples SimpleChains.jl publishes",
            tuple(chains.NETWORKS),
            "samples/s",
            (
                Peer(OURS, "chains:Fastbp", ("fastbp",)),
                Peer("numpy-hand", "chains:NumpyHand", ()),
                Peer("jax", "chains:Jax", _JAX),
                PEAK,
            ),
            tolerance=(1e-3, 1e-6),
            exceptions={"gradient-24-8-2": ("float64",)},
        ),
        Suite(
            "startup",
            "From process start to the end of the first epoch of tabular-small",
            ("tabular-small",),
            "starts/s",
            (),
            threads=(2,),
            time="time",
        ),
    )
}
