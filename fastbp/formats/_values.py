"""Python and NumPy values as JSON and named arrays, and back: what a pickle holds, without its power to run code.

`encode` turns a value into something `json.dumps` takes, putting every numeric array aside under a name; `decode` is
its inverse. What JSON has no word for is written as an object with one marked key:

=============================================  ==========================================================
value                                          written as
=============================================  ==========================================================
numeric array (bool, int, uint, float 16-64)   ``{"$array": name}``, the array in `arrays`
array of strings                               ``{"$strings": [...], "width": n, "shape": [...]}``
array of objects                               ``{"$objects": [...], "shape": [...]}``
NumPy scalar                                   ``{"$scalar": ["float32", 0.5]}``
list of NumPy scalars of one type              ``{"$scalars": ["float32", [0.5, 0.25]]}``
tuple                                          ``{"$tuple": [...]}``
dict whose keys are not all plain strings      ``{"$dict": [[key, value], ...]}``
nan, inf, -inf                                 ``{"$float": "nan"}``
numpy.random.RandomState                       ``{"$random_state": ["MT19937", key, position, has, cached]}``
=============================================  ==========================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

import fastbp.formats._schema as schema
from fastbp.validation import shown

__all__ = ["decode", "encode"]

DTYPES = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split())
# An array of strings costs 4 * width * count bytes, however short its strings: a file of a few kilobytes must not be
# able to ask for gigabytes.
MAX_TEXT_BYTES = 1 << 28
# Every mark, with all keys of its object.
MARKS = {mark: {mark} for mark in "$array $float $tuple $dict $scalar $scalars $random_state".split()} | {
    "$strings": {"$strings", "width", "shape"},
    "$objects": {"$objects", "shape"},
}


def encode(value: Any, arrays: dict[str, np.ndarray], name: str = "value") -> Any:
    """JSON form of `value`; its numeric arrays are added to `arrays` under names that begin with `name`.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, NumPy scalars and arrays, `numpy.random.RandomState`, and lists, tuples and dicts
        of these.
    arrays : dict of str to ndarray
        Receives the arrays, of any shape and memory order.
    name : str
        Where in the whole the value stands; also used in messages.

    Returns
    -------
    object
        What `json.dumps(..., allow_nan=False)` takes.

    Raises
    ------
    TypeError
        For any other type: "cannot save callbacks.0 of type ...".

    Examples
    --------
    >>> arrays = {}
    >>> encode({"w": np.ones(2), "tol": float("inf"), "sizes": (3, 1)}, arrays, "net")
    {'w': {'$array': 'net.w'}, 'tol': {'$float': 'inf'}, 'sizes': {'$tuple': [3, 1]}}
    >>> list(arrays)
    ['net.w']
    """
    if isinstance(value, np.generic):  # before float and str, which np.float64 and np.str_ are as well
        if value.dtype.name not in DTYPES and value.dtype.kind != "U":
            _refuse(value, name)
        return {"$scalar": ["str" if value.dtype.kind == "U" else value.dtype.name, _number(value.item())]}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, name)
    if isinstance(value, list):
        kinds = {type(item) for item in value}
        first = next(iter(kinds), None)
        if (
            len(kinds) == 1
            and first is not None
            and issubclass(first, np.generic)
            and value[0].dtype.name in DTYPES
        ):
            return {"$scalars": [value[0].dtype.name, [_number(item.item()) for item in value]]}
        return [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, Mapping):
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: encode(item, arrays, f"{name}.{key}") for key, item in value.items()}
        pairs = enumerate(value.items())
        return {
            "$dict": [
                [encode(k, arrays, f"{name}.{i}.key"), encode(v, arrays, f"{name}.{i}")]
                for i, (k, v) in pairs
            ]
        }
    if isinstance(value, np.random.RandomState):
        state: Any = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            _refuse(value, name)
        twister = state["state"]
        key = _encode_array(twister["key"], arrays, name)
        return {
            "$random_state": ["MT19937", key, twister["pos"], state["has_gauss"], _number(state["gauss"])]
        }
    _refuse(value, name)


def _refuse(value: object, name: str) -> NoReturn:
    raise TypeError(
        f"cannot save {name} of type {type(value).__module__}.{type(value).__qualname__}: expected numbers, strings, "
        "None, NumPy arrays, RandomState, or lists, tuples and dicts of them"
    )


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(float(value))}
    return value


def _encode_array(value: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> Any:
    if value.dtype.name in DTYPES:
        while name in arrays:
            name += "_"
        # safetensors writes the memory as it lies: anything but C order in native bytes would be another array.
        arrays[name] = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("=")).reshape(value.shape)
        return {"$array": name}
    if value.dtype.kind == "U":
        width = value.dtype.itemsize // 4
        if 4 * width * value.size > MAX_TEXT_BYTES:
            raise ValueError(f"cannot save {name}: an array of strings of {4 * width * value.size} bytes")
        return {"$strings": value.ravel().tolist(), "width": width, "shape": list(value.shape)}
    if value.dtype.kind == "O":
        items = [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value.ravel())]
        return {"$objects": items, "shape": list(value.shape)}
    raise TypeError(f"cannot save {name}: an array of dtype {value.dtype}")


def decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Inverse of `encode`.

    Parameters
    ----------
    value : object
        What `json.loads` returned.
    arrays : mapping of str to ndarray

    Returns
    -------
    object

    Raises
    ------
    ValueError
        A marked value is not as `encode` writes it, or an array is missing.
    OverflowError, TypeError
        A number does not fit its dtype; the key of a dict is none.

    Examples
    --------
    >>> decode({"sizes": {"$tuple": [3, 1]}, "tol": {"$float": "-inf"}}, {})
    {'sizes': (3, 1), 'tol': -inf}
    """
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    mark = next((key for key in value if key.startswith("$")), None)
    if mark is None:
        return {key: decode(item, arrays) for key, item in value.items()}
    if set(value) != MARKS.get(mark):
        raise ValueError(f"not a value that fastbp writes: an object with {shown(list(value))}")
    content = value[mark]
    if mark == "$array":
        schema.text(content, "the name of an array")
        if content not in arrays:
            raise ValueError(f"the array {shown(content)} is missing")
        return arrays[content]
    if mark == "$float":
        schema.one_of("nan", "inf", "-inf")(content, "a float")
        return float(content)
    if mark == "$tuple":
        return tuple(decode(item, arrays) for item in _listed(content))
    if mark == "$dict":
        return {
            decode(k, arrays): decode(v, arrays) for k, v in (_listed(pair, 2) for pair in _listed(content))
        }
    if mark == "$scalar":
        name, number = _listed(content, 2)
        if name == "str":
            schema.text(number, "a string")
            return np.str_(number)
        return _scalars(name, [number])[0]
    if mark == "$scalars":
        name, numbers = _listed(content, 2)
        return _scalars(name, _listed(numbers))
    if mark == "$strings":
        return _strings(_listed(content), value["width"], value["shape"])
    if mark == "$objects":
        items = np.empty(len(_listed(content)), dtype=object)
        for i, item in enumerate(content):
            items[i] = decode(item, arrays)
        return items.reshape(_shape(value["shape"]))
    return _random_state(_listed(content, 5), arrays)


def _random_state(content: list[Any], arrays: Mapping[str, np.ndarray]) -> np.random.RandomState:
    algorithm, key, position, has_gauss, cached = content
    schema.one_of("MT19937")(algorithm, "the algorithm of a random generator")
    words, gauss = decode(key, arrays), decode(cached, arrays)
    schema.like(np.zeros(624, np.uint32))(words, "the state of a random generator")
    schema.integer(0, 624)(position, "the position of a random generator")
    schema.one_of(0, 1)(has_gauss, "has_gauss of a random generator")
    schema.number()(gauss, "the next number of a random generator")
    state = np.random.RandomState(0)
    state.set_state((algorithm, words, position, has_gauss, float(gauss)))
    return state


def _listed(value: Any, count: int | None = None) -> list[Any]:
    if not isinstance(value, list) or count not in (None, len(value)):
        expected = "a list" if count is None else f"a list of {count} items"
        raise ValueError(f"expected {expected}, got {shown(value)}")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    sizes = tuple(_listed(value))
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(f"not a shape: {shown(sizes)}")
    return sizes


def _scalars(name: str, numbers: list[Any]) -> list[Any]:
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"not a dtype: {shown(name)}")
    kind = np.dtype(name)
    expected = {"b": bool, "f": float}.get(kind.kind, int)
    plain = [decode(number, {}) for number in numbers]
    if not all(type(number) is expected for number in plain):
        raise ValueError(f"not all numbers are of type {name}")
    return [kind.type(number) for number in plain]


def _strings(items: list[Any], width: Any, shape: Any) -> np.ndarray:
    if type(width) is not int or not 0 <= 4 * width * len(items) <= MAX_TEXT_BYTES:
        raise ValueError(f"an array of {len(items)} strings of width {shown(width)}")
    if not all(isinstance(item, str) and len(item) <= width for item in items):
        raise ValueError(f"an array of strings holds another value, or one longer than {width}")
    return np.array(items, dtype=f"<U{max(width, 1)}").reshape(_shape(shape))
