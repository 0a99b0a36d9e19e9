"""C source: a trained network as one C99 file without dependencies, for any machine with a C compiler.

`to_c` prints the parameters as constants that read back exactly (9 significant digits for float32, up to 17 for
float64: IEEE 754-2019, 5.12.2) and the few loops that use them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from string import Template
from typing import Any

import numpy as np

from fastbp.formats._atomic import atomic_write
from fastbp.formats._c_templates import ACTIVATION, DENSE, HEADER, MAIN, PREDICT, SOFTMAX
from fastbp.formats._network import Affine, Network, describe
from fastbp.formats._suffixes import check_suffix
from fastbp.spellings.activations import ACTIVATIONS

__all__ = ["to_c"]

MATHS = "erf exp expm1 fabs log1p strto tanh".split()

# Intermediate values live on the stack up to this many bytes, in static memory beyond.
STACK_BYTES = 4096
KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long main "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile "
    "while".split()
)

# What a name may not be: the functions of <math.h>, each also with f and l at its end, and what else the headers
# define; with main also the variables of main.
MATH_H = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma "
    "fmax fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan "
    "nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma "
    "trunc"
).split()
HEADERS = (
    "abort abs atexit atof atoi atol atoll bsearch calloc clearerr div exit fclose feof ferror fflush fgetc fgetpos "
    "fgets fopen fprintf fputc fputs fread free freopen fscanf fseek fsetpos ftell fwrite getc getchar getenv gets "
    "labs ldiv llabs lldiv malloc mblen mbstowcs mbtowc memchr memcmp memcpy memmove memset perror printf putc "
    "putchar puts qsort rand realloc remove rename rewind scanf setbuf setvbuf snprintf sprintf srand sscanf strcat "
    "strchr strcmp strcoll strcpy strcspn strerror strlen strncat strncmp strncpy strpbrk strrchr strspn strstr "
    "strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm system tmpfile tmpnam ungetc vfprintf "
    "vfscanf vprintf vscanf vsnprintf vsprintf vsscanf wcstombs wctomb BUFSIZ EOF EXIT_FAILURE EXIT_SUCCESS "
    "FILENAME_MAX FOPEN_MAX HUGE_VAL HUGE_VALF HUGE_VALL INFINITY L_tmpnam MATH_ERREXCEPT MATH_ERRNO MB_CUR_MAX NAN "
    "NULL RAND_MAX SEEK_CUR SEEK_END SEEK_SET TMP_MAX FILE div_t double_t errno float_t fpclassify fpos_t isfinite "
    "isgreater isgreaterequal isinf isless islessequal islessgreater isnan isnormal isunordered ldiv_t lldiv_t "
    "math_errhandling signbit size_t stderr stdin stdout wchar_t"
).split()
OF_MAIN = frozenset("x out field length line columns header c kept first start end value number".split())
TAKEN = frozenset(["main", *HEADERS, *(name + end for name in MATH_H for end in ("", "f", "l"))])


def to_c(
    model: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    main: bool = False,
    name: str = "predict",
    probabilities: bool | str = False,
) -> str:
    """Write a model as one C99 file that needs nothing but the C library (``cc -std=c99 -O2 file.c -lm``).

    Parameters
    ----------
    model : Sequential, or a fitted MLPClassifier or MLPRegressor
    path : str or path-like, optional
        Where to write it, atomically: ``*.c``, or a name without suffix. None only returns the text.
    main : bool, default=False
        Add a program that reads rows of comma-separated numbers from stdin and prints one line of outputs for each;
        for a classifier the label comes first (not for multilabel targets).
    name : str, default="predict"
        Name of the function, and the prefix of every other name in the file, so that several fit into one program.
    probabilities : bool, "softmax" or "sigmoid", default=False
        False: a classifier gives logits. True: probabilities; for a Sequential softmax over several outputs and
        sigmoid of a single one. A binary classifier has one output, for its second class.

    Returns
    -------
    str
        The source. It defines ``void predict(const float *x, float *out)`` (double for a float64 model) for one row of
        ``PREDICT_INPUTS`` numbers, and ``PREDICT_OUTPUTS``. The header comment says whether the function may run in
        several threads at once: it may unless the hidden layers are too wide for the stack (4096 bytes); then
        ``predict_with(x, out, work)``, which takes its memory from the caller, may.

    Raises
    ------
    TypeError
        `model` is none of these.
    ValueError
        `path` ends otherwise, `name` is no C identifier or taken, `probabilities` does not fit the model, or a
        parameter is not finite.

    Examples
    --------
    >>> import fastbp as fb
    >>> net = fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], n_inputs=2)
    >>> text = fb.formats.to_c(net)
    >>> "void predict(const float *x, float *out)" in text
    True
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in KEYWORDS:
        raise ValueError(f"name must be an identifier of C, got {name!r}")
    if name in TAKEN or (main and name in OF_MAIN):
        raise ValueError(f"name must not be one that the C library or this file has already, got {name!r}")
    if path is not None:
        check_suffix(path, ".c")
    network = describe(model, probabilities)
    text = "".join(_source(network, type(model).__name__, name, main))
    if path is not None:
        with atomic_write(path, "w") as file:
            file.write(text)
    return text


def _source(network: Network, model: str, name: str, main: bool) -> Iterator[str]:
    from fastbp import __version__

    layers = list(network.affine)
    single = network.dtype == np.float32
    width = max((layer.W.shape[1] for layer in layers[:-1]), default=0)
    static = 2 * width * network.dtype.itemsize > STACK_BYTES
    words = {word: word + "f" * single for word in MATHS} | {"strto": "strtof" if single else "strtod"}
    words |= {"T": "float" if single else "double", "f": "f" * single, "NAME": name, "UPPER": name.upper()}
    words |= {
        "inputs": str(network.sizes[0]),
        "outputs": str(network.sizes[-1]),
        "work": str(max(2 * width, 1)),
    }

    def fill(template: str, **more: str) -> str:
        return Template(template).substitute(words, **more)

    threads = (
        f"{name} keeps intermediate values in static memory: one thread at a time. {name}_with may run in several."
        if static
        else f"{name} may run in several threads at once."
    )
    shapes = [f"{layer.W.shape[0]} -> {layer.W.shape[1]} {layer.activation}" for layer in layers]
    yield fill(
        HEADER,
        model=model,
        version=__version__,
        meaning=_meaning(network),
        layers=", ".join(shapes),
        classes=_comment_of_classes(network),
        threads=threads,
    )
    for i, layer in enumerate(layers):
        yield _constants(f"{name}_W{i}", layer.W, words["T"])
        if layer.b is not None:
            yield _constants(f"{name}_b{i}", layer.b, words["T"])
    yield fill(DENSE)
    used = {layer.activation for layer in layers} | ({"sigmoid"} if network.head == "sigmoid" else set())
    for kind in sorted(used - {"identity"}):
        yield fill(ACTIVATION, kind=kind, expression=fill(ACTIVATIONS[kind].c))
    if network.head == "softmax":
        yield fill(SOFTMAX)
    yield fill(PREDICT, body="".join(_body(layers, network.head, name, width)), static="static " * static)
    if main:
        labels, label = _labels(network, fill)
        yield fill(MAIN, labels=labels, label=label, digits="9" if single else "17")


def _meaning(network: Network) -> str:
    if network.classes is None:
        what = {"": "the model's outputs", "softmax": "probabilities", "sigmoid": "probabilities"}[
            network.head
        ]
    else:
        what = "probabilities" if network.head else "logits"
        if network.multilabel:
            what += ", one label each"
        elif network.sizes[-1] == 1:
            what += " of the second class"
        else:
            what += ", one class each"
    return what


def _comment_of_classes(network: Network) -> str:
    if network.classes is None:
        return ""
    labels = ", ".join(_escape(str(label)) for label in network.classes.tolist())
    return f" * Classes: {labels}\n"


def _escape(text: str) -> str:
    """Text as the inside of a C string or comment; what could end either, and non-ASCII, as octal bytes of UTF-8."""
    plain = frozenset(
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-+.,:;()[]<>=!#&|~^{}@'"
    )
    codes = text.encode("utf-8", "surrogatepass")
    return "".join(chr(code) if code in plain else f"\\{code:03o}" for code in codes)


def _constants(name: str, values: np.ndarray, kind: str) -> str:
    if not np.isfinite(values).all():
        raise ValueError(
            f"a parameter of the model is not finite (constants {name}): C has no constant for it"
        )
    numbers = values.ravel().tolist()
    if kind == "float":
        texts = [f"{number:.9g}" for number in numbers]
        # "1f" is no constant of C, "1.f" is.
        texts = [text + ("f" if "." in text or "e" in text else ".f") for text in texts]
    else:
        texts = [repr(number) for number in numbers]
    rows = [", ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    return f"\nstatic const {kind} {name}[{values.size}] = {{\n    " + ",\n    ".join(rows) + ",\n};\n"


def _body(layers: list[Affine], head: str, name: str, width: int) -> Iterator[str]:
    source = "x"
    if len(layers) == 1:
        yield "    (void)work;\n"
    for i, layer in enumerate(layers):
        fan_in, fan_out = layer.W.shape
        # The layers write into the two halves of the scratch memory in turn, the last one into the caller's memory.
        target = "out" if layer is layers[-1] else "work" if i % 2 == 0 else f"work + {width}"
        bias = "0" if layer.b is None else f"{name}_b{i}"
        yield f"    {name}_dense({source}, {fan_in}, {name}_W{i}, {bias}, {fan_out}, {target});\n"
        if layer.activation != "identity":
            yield f"    {name}_{layer.activation}({target}, {fan_out});\n"
        source = target
    if head:
        yield f"    {name}_{head}(out, {layers[-1].W.shape[1]});\n"


def _labels(network: Network, fill: Any) -> tuple[str, str]:
    """Table of the labels and the line that prints the winner, for main; both empty without labels."""
    if network.classes is None or network.multilabel:
        return "", ""
    texts = []
    for label in network.classes.tolist():
        text = str(label)
        # As the csv module writes it.
        if re.search(r'[,"\r\n]', text):
            text = '"' + text.replace('"', '""') + '"'
        texts.append(f'"{_escape(text)}"')
    table = fill("\nstatic const char *const ${NAME}_labels[] = {") + ", ".join(texts) + "};\n"
    outputs = network.sizes[-1]
    if len(texts) == 1:
        choice = "    const int best = 0;\n    "
    elif outputs == 1:
        choice = f"    const int best = out[0] > {'0.5$f' if network.head else '0'};\n    "
    else:
        choice = (
            "    int best = 0;\n    for (int k = 1; k < ${UPPER}_OUTPUTS; k++)\n"
            "        best = out[k] > out[best] ? k : best;\n    "
        )
    return table, fill(choice + 'printf("%s,", ${NAME}_labels[best]);\n')
