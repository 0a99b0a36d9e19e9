"""A model for files, and what stands in them, for forging others."""

import json

from safetensors import safe_open
from safetensors.numpy import save as to_bytes

import fastbp as fb
from fastbp.formats import _container


def network(dtype="float32", seed=0):
    """A network with something of everything that a file keeps."""
    layers = [
        fb.Dropout(0.1),
        fb.Dense(5, "relu", l2=0.1),
        fb.Dropout(0.2),
        fb.Dense(3, "mish", use_bias=False),
        fb.Dense(2),
    ]
    net = fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=seed)
    net.metadata["unit"] = "mm ü"
    return net


def opened(path):
    """Document and arrays of a file."""
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["fastbp"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def forge(path, document, arrays):
    """Write a file whose checksum is right, whatever it says."""
    document = {**document, "checksum": _container._checksum(document, arrays)}
    path.write_bytes(to_bytes(arrays, {"fastbp": json.dumps(document)}))


def altered(tree, path, value):
    """Copy of a JSON tree with one place changed; the value `...` deletes it."""
    if not path:
        return value
    twin = list(tree) if isinstance(tree, list) else dict(tree)
    if len(path) == 1 and value is ...:
        del twin[path[0]]
    else:
        twin[path[0]] = altered(twin[path[0]] if path[1:] else None, path[1:], value)
    return twin


def places(tree, path=()):
    """Every place of a JSON tree."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))
