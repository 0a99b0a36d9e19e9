"""A network whose numbers are shown one after the other: the numbers behind the tab Backpropagation.

They are those of ``fastbp explain``, and come from the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastbp import reference as ref
from fastbp.explaining.entries import SIGNS, UPHILL, Entry, short
from fastbp.explaining.problem import EXAMPLE, Problem, made
from fastbp.explaining.steps import Explanation, explain
from fastbp.layers import ACTIVATION_NAMES
from fastbp.playground.fields import SEEDS, Field

__all__ = ["FIELDS", "INPUTS", "MOST_INPUTS", "MOST_OUTPUTS", "TARGETS", "Edge", "Lesson", "Unit"]

MOST_INPUTS, MOST_OUTPUTS = 4, 3
ROUND = "round numbers"
NONE = "none"

_UNITS = ("1", "2", "3", "4")
_VALUES = tuple(f"{tenth / 10:g}" for tenth in range(-30, 31))
_X = ref.example()[1]

INPUTS = tuple(f"x{i}" for i in range(1, MOST_INPUTS + 1))
TARGETS = tuple(f"y{k}" for k in range(1, MOST_OUTPUTS + 1))

_NETWORK = {
    "inputs": Field("Inputs", _UNITS[:MOST_INPUTS], str(EXAMPLE[0])),
    "hidden": Field("Hidden units", (NONE, *_UNITS), str(EXAMPLE[1])),
    "second": Field("Second hidden layer", (NONE, *_UNITS), NONE),
    "outputs": Field("Outputs", _UNITS[:MOST_OUTPUTS], str(EXAMPLE[2])),
    "activation": Field("Hidden activation", ACTIVATION_NAMES, "sigmoid"),
    "output": Field("Output activation", ACTIVATION_NAMES, "sigmoid"),
    "bias": Field("Biases", ("no", "yes"), "no"),
    "weights": Field("Weights", (ROUND, *(f"seed {seed}" for seed in SEEDS)), ROUND),
}

FIELDS = {
    **_NETWORK,
    "rate": Field(
        "Learning rate", ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50"), "0.5"
    ),
    "sign": Field("delta points", tuple(SIGNS), UPHILL),
    **{name: Field(f"Input {i + 1}", _VALUES, f"{_X[i % len(_X)]:g}") for i, name in enumerate(INPUTS)},
    **{name: Field(f"Target {k + 1}", _VALUES, f"{int(k == 0)}") for k, name in enumerate(TARGETS)},
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as it is shown: numbers that are not known yet are None.

    Attributes
    ----------
    layer, index : int          From 0; layer 0 are the inputs.
    v_in, v_out, slope, delta : float or None
        An input has no `v_in` and no `slope`, which is f'(v_in).
    bias, bias_gradient, bias_after : float or None
    active : bool               Whether it is spoken of now.
    """

    layer: int
    index: int
    v_in: float | None
    v_out: float | None
    slope: float | None
    delta: float | None
    bias: float | None
    bias_gradient: float | None
    bias_after: float | None
    active: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge from unit `i` of a layer to unit `j` of the next, both from 0, as it is shown.

    Attributes
    ----------
    layer : int                 The layer that it leaves.
    weight : float
    gradient : float or None    d loss / d weight, once delta at its end is known.
    after : float or None       The weight after the update, once that is shown.
    active : bool               Whether it is spoken of now.
    """

    layer: int
    i: int
    j: int
    weight: float
    gradient: float | None
    after: float | None
    active: bool


class Lesson:
    """A network, a sample, and how far its forward and backward pass are shown.

    Parameters
    ----------
    values : dict of str to str
        A choice for each of `FIELDS`.

    Attributes
    ----------
    explanation : Explanation or None
        None if the numbers grow beyond what a float can hold.
    position : int              Quantities that are shown, of `entries`.
    losses : list of float      Before each update, and now.

    Examples
    --------
    >>> lesson = Lesson({name: field.default for name, field in FIELDS.items()})
    >>> lesson.step(), lesson.entry.name, [round(unit.v_in, 2) for unit in lesson.units() if unit.layer == 1]
    (True, 'v_in(1)', [0.55, -0.5])
    >>> lesson.update()
    >>> [round(loss, 4) for loss in lesson.losses]
    [0.1081, 0.1043]
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self.position = 0
        self.reset()

    @property
    def sizes(self) -> list[int]:
        """Inputs, then the units of each layer."""
        hidden = [self.values[name] for name in ("hidden", "second") if self.values[name] != NONE]
        return [int(n) for n in (self.values["inputs"], *hidden, self.values["outputs"])]

    @property
    def entries(self) -> list[Entry]:
        """All quantities, in the order of the tutorial."""
        return [] if self.explanation is None else self.explanation.steps[0]

    @property
    def entry(self) -> Entry | None:
        """The quantity that is spoken of now; None before the first."""
        return self.entries[self.position - 1] if self.position else None

    @property
    def is_done(self) -> bool:
        """Whether every quantity is shown."""
        return self.position == len(self.entries) > 0

    def choose(self, name: str, value: str) -> None:
        """Take a choice: another network starts anew, another sample or rate keeps the weights.

        The place is kept if the quantities are the same.
        """
        position, names = self.position, [entry.name for entry in self.entries]
        self.values[name] = value
        if name not in _NETWORK:
            self._compute()
            return
        self.reset()
        if names == [entry.name for entry in self.entries]:
            self.position = position

    def reset(self) -> None:
        """Return to the first weights, with nothing shown."""
        values, sizes = self.values, self.sizes
        names = [values["activation"]] * (len(sizes) - 2) + [values["output"]]
        seed = None if values["weights"] == ROUND else int(values["weights"].split()[1])
        self._layers, self._source = made(sizes, names, bias=values["bias"] == "yes", seed=seed)
        self.position = 0
        self.losses: list[float] = []
        self._compute()

    def step(self) -> bool:
        """Show one quantity more; return whether there was one."""
        before = self.position
        self.position = min(before + 1, len(self.entries))
        return self.position > before

    def back(self) -> None:
        """Show one quantity less."""
        self.position = max(0, self.position - 1)

    def finish(self) -> None:
        """Show every quantity."""
        self.position = len(self.entries)

    def update(self) -> None:
        """Take the step downhill; the same quantities are shown of the new network."""
        if self.explanation is None:
            return
        self._layers = self.explanation.layers
        loss = self.losses.pop()
        before = self.losses
        self._compute()
        self.losses = [*before, loss, *self.losses[-1:]]

    def units(self) -> list[Unit]:
        """Every unit, the inputs first."""
        known = self._known()
        active, _ = self._spoken_of()
        passage = None if self.explanation is None else self.explanation.passages[0]
        found = []
        for layer, size in enumerate(self.sizes):
            own = self._layers[layer - 1] if layer else None
            v_out = self._sample() if not layer else known.get(self._name_of_output(layer))
            delta = known.get(f"delta({layer})")
            after = known.get(f"b({layer})")
            for j in range(size):
                slope = bias_gradient = None
                if passage is not None and own is not None and delta is not None:
                    slope = ref.ACTIVATIONS[own.activation].f_prime(passage.v_in[layer - 1][0][j])
                    gradient = passage.gradients[layer - 1][1]
                    bias_gradient = None if gradient is None else gradient[j]
                v_in = known.get(f"v_in({layer})")
                found.append(
                    Unit(
                        layer,
                        j,
                        None if v_in is None else v_in[j],
                        None if v_out is None else v_out[j],
                        slope,
                        None if delta is None else delta[j],
                        None if own is None or own.b is None else own.b[j],
                        bias_gradient,
                        None if after is None else after[j],
                        layer == active,
                    )
                )
        return found

    def edges(self) -> list[Edge]:
        """Every edge, from the inputs on."""
        known = self._known()
        _, active = self._spoken_of()
        found = []
        for layer, own in enumerate(self._layers):
            gradients = None
            if self.explanation is not None and f"delta({layer + 1})" in known:
                gradients = self.explanation.passages[0].gradients[layer][0]
            after = known.get(f"W({layer}->{layer + 1})")
            found += [
                Edge(
                    layer,
                    i,
                    j,
                    w,
                    None if gradients is None else gradients[i][j],
                    None if after is None else after[i][j],
                    layer == active,
                )
                for i, row in enumerate(own.W)
                for j, w in enumerate(row)
            ]
        return found

    def command(self) -> str:
        """What prints the same numbers on the command line, before the first update."""
        values, sizes = self.values, self.sizes
        parts = ["fastbp explain"]
        seed = "" if values["weights"] == ROUND else values["weights"].split()[1]
        if sizes != EXAMPLE:
            parts.append(f"--sizes {','.join(map(str, sizes))}")
        names = [values["activation"]] * (len(sizes) - 2) + [values["output"]]
        if set(names) != {"sigmoid"}:
            parts.append(f"--activation {','.join(names)}")
        parts += ["--bias"] * (values["bias"] == "yes") + [f"--seed {seed}"] * bool(seed)
        parts.append(f"--input={','.join(values[name] for name in INPUTS[: sizes[0]])}")
        parts.append(f"--target={','.join(values[name] for name in TARGETS[: sizes[-1]])}")
        parts.append(f"--lr {values['rate']}")
        return " ".join(parts + [f"--sign {values['sign']}"] * (values["sign"] != UPHILL))

    def remark(self) -> str:
        """What a newcomer may ask about the quantity that is spoken of, or ""."""
        entry = self.entry
        if entry is None:
            return ""
        if entry.part == "backward":
            return SIGNS[self.values["sign"]]
        name, _, rest = entry.name.partition("(")
        if name == "v_in":
            layer = rest.rstrip(")")
            return f"W' is W with its rows as columns: W({int(layer) - 1}->{layer})[i,j] leads from unit i to unit j."
        if name == "W":
            before = entry.formula.split()[-2]
            minus = "" if self.values["sign"] == UPHILL else "minus "
            delta = entry.formula.split()[-1].rstrip("'")
            return f"The gradient of the edge from i to j is {minus}{before}[i] {delta}[j]; lr is the learning rate."
        return ""

    def difference(self) -> float | None:
        """How far the numbers of the compiled kernels are from those that are shown; None without numbers."""
        if self.explanation is None:
            return None
        from fastbp.explaining.agreement import agreement

        return max(agreement(self.explanation).values())

    def story(self) -> str:
        """The loss before and after the updates."""
        texts = [short(loss) for loss in self.losses]
        if len(texts) > 6:
            texts[2:-3] = ["..."]
        count = len(self.losses) - 1
        return f"loss {' -> '.join(texts)}" + (f", {count} update{'s' * (count > 1)}" if count > 0 else "")

    # What it is made of

    def _compute(self) -> None:
        sizes = self.sizes
        y = [float(self.values[name]) for name in TARGETS[: sizes[-1]]]
        problem = Problem(self._layers, [self._sample()], [y], self._source)
        self.explanation: Explanation | None = None
        try:
            self.explanation = explain(problem, float(self.values["rate"]), sign=self.values["sign"])
        except OverflowError:
            pass
        self.position = min(self.position, len(self.entries))
        loss = float("inf") if self.explanation is None else self.explanation.passages[0].loss
        self.losses = [*self.losses[:-1], loss]

    def _sample(self) -> list[float]:
        return [float(self.values[name]) for name in INPUTS[: self.sizes[0]]]

    def _known(self) -> dict[str, Any]:
        """The quantities that are shown."""
        return {entry.name: entry.value for entry in self.entries[: self.position]}

    def _name_of_output(self, layer: int) -> str:
        return "y_hat" if layer == len(self._layers) else f"v_out({layer})"

    def _spoken_of(self) -> tuple[int | None, int | None]:
        """The layer whose units are spoken of, and the layer whose leaving edges are."""
        if self.entry is None:
            return None, None
        last = len(self._layers)
        name, _, rest = self.entry.name.partition("(")
        if not rest:  # y_hat, E, loss
            return last, None
        layer = int(rest.partition("-")[0].rstrip(")"))
        if name == "v_in":
            return layer, layer - 1
        if name == "delta":
            return layer, layer if layer < last else None
        return (None, layer) if name == "W" else (layer, None)
