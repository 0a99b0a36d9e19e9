"""Model files and checkpoints: damaged ones are found, forged ones refused in one line, or harmless."""

from __future__ import annotations

import functools
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fastbp as fb
from bench.probes.fuzz.case import check, estimator, network, one_line, rows
from tests.formats.forging import altered, forge, opened, places

VALUES = [
    ..., None, True, -1, 0, 1, 2, 1.5, 2**31, 2**63, 10**60, -(10**30), "", "x", "x" * 5000, "a\nb", [], {}, [None],
    {"$float": "nan"}, {"$float": "-inf"}, {"$float": "x"}, {"$array": "weights.0"}, {"$array": "no"}, {"$tuple": [1]},
    {"$scalar": ["float32", 1.5]}, {"$scalar": ["V8", 1]}, {"$strings": ["a"], "width": 2**40, "shape": [1]},
    {"$objects": [None], "shape": [-1]}, {"$dict": [[1, 2]]}, {"$dict": [[[], 2]]}, {"$x": 1},
]  # fmt: skip


@functools.cache
def originals() -> dict[str, bytes]:
    """Return a file of every kind."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        files = {}
        for name, model in (
            ("net", network(rng)),
            ("clf", estimator(rng, True)),
            ("reg", estimator(rng, False)),
        ):
            fb.formats.save(model, path)
            files[name] = path.read_bytes()
        train(network(np.random.default_rng(1)), epochs=1, callbacks=[fb.callbacks.Checkpoint(path)])
        files["checkpoint"] = path.read_bytes()
    return files


def train(net: fb.Sequential, **options: Any) -> None:
    """Train, or go on, as the checkpoint was made."""
    x, y = rows(np.random.default_rng(2))
    watching = [
        *options.pop("callbacks", []),
        fb.callbacks.EarlyStopping(9),
        fb.callbacks.ReduceLROnPlateau(),
    ]
    net.fit(x, y, callbacks=watching, verbose=0, n_threads=1, batch_size=10, **options)


def case(rng: np.random.Generator, folder: Path) -> None:
    """Damage or forge one file, and read it."""
    name = str(rng.choice(list(originals())))
    path = folder / "m.safetensors"
    path.write_bytes(originals()[name])
    if rng.random() < 0.3:
        damaged(rng, path)
    else:
        forged(rng, path, name == "checkpoint")


def damaged(rng: np.random.Generator, path: Path) -> None:
    """Change bytes without a new checksum: always found."""
    whole = bytearray(path.read_bytes())
    kind = int(rng.integers(3))
    place = int(rng.integers(len(whole)))
    if kind == 0:
        del whole[place:]
    elif kind == 1:
        whole[place:place] = rng.bytes(int(rng.integers(1, 9)))
    else:
        whole[place] ^= int(rng.integers(1, 256))
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    blank = kind == 2 and place < header and not path.read_bytes()[place:header].strip()
    path.write_bytes(whole)
    try:
        fb.load(path)
    except fb.formats.FormatError as error:
        one_line(error)
        return
    check(blank, f"a damaged file was loaded (kind {kind}, byte {place})")


def forged(rng: np.random.Generator, path: Path, checkpoint: bool) -> None:
    """Change what a file says, with a checksum that is right."""
    document, arrays = opened(path)
    for _ in range(int(rng.integers(1, 3))):
        everywhere = [place for place in places(document) if place and place[0] != "checksum"]
        place = everywhere[int(rng.integers(len(everywhere)))]
        document = altered(document, place, VALUES[int(rng.integers(len(VALUES)))])
        if not isinstance(document, dict) or not document:
            return
    try:
        forge(path, json.loads(json.dumps(document)), arrays)
    except (ValueError, RecursionError):  # not JSON
        return
    if checkpoint and rng.random() < 0.7:
        resumed(path, place)
        return
    try:
        model = fb.load(path)
    except fb.formats.FormatError as error:
        one_line(error)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(model, "coefs_") or isinstance(model, fb.Sequential):
            columns = model.n_inputs if isinstance(model, fb.Sequential) else model.n_features_in_
            answer = model.predict(np.zeros((3, columns)))
            check(len(answer) == 3, f"a forged file was loaded, and predicts {answer.shape} (at {place})")
    fb.formats.save(model, path)  # what was loaded can be saved
    fb.load(path)


def resumed(path: Path, place: tuple[Any, ...]) -> None:
    """Go on from a forged checkpoint: refused in one line with the model as it was, or trained."""
    net = network(np.random.default_rng(1))
    before = net.engine.theta.copy()
    try:
        train(net, epochs=2, resume_from=path)
    except fb.DivergenceError:  # a learning rate of 1e60 is possible
        pass
    except ValueError as error:
        one_line(error)
    else:
        return
    check(
        np.array_equal(net.engine.theta, before), f"a refused checkpoint has changed the model (at {place})"
    )
