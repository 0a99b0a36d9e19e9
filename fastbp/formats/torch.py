"""PyTorch both ways: a fastbp model as `torch.nn.Sequential`, and such a module as a fastbp model."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.formats._network import Drop, describe
from fastbp.spellings.activations import ACTIVATIONS

if TYPE_CHECKING:
    import torch

    from fastbp.sequential import Sequential

__all__ = ["from_torch", "to_torch"]


@cache
def _exp() -> type[torch.nn.Module]:
    """Make the module torch lacks; `Exp` of this module, so that a pickle of it finds it again."""
    from torch import Tensor, nn

    class Exp(nn.Module):
        """a = exp(z)."""

        def forward(self, z: Tensor) -> Tensor:
            """Apply it to a tensor of any shape."""
            return z.exp()

    Exp.__module__, Exp.__qualname__ = __name__, "Exp"
    return Exp


def __getattr__(name: str) -> Any:
    if name == "Exp":
        return _exp()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("this needs PyTorch: see https://pytorch.org/get-started") from error
    return torch


def to_torch(model: Any, *, probabilities: bool | str = False) -> torch.nn.Sequential:
    """Return a model as `torch.nn.Sequential`, with copies of its parameters.

    Parameters
    ----------
    model : Sequential, or a fitted MLPClassifier or MLPRegressor
    probabilities : bool, "softmax" or "sigmoid", default=False
        False: a classifier gives logits, what torch's losses want. True adds the last step, for a Sequential softmax
        over several outputs and sigmoid of a single one.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, of the model's dtype, in evaluation mode (call ``train()`` to have dropout). Maps (n, n_inputs) to
        (n, n_outputs); a binary or multilabel classifier's outputs are the probabilities of the positive class(es).

    Raises
    ------
    TypeError
        `model` is none of these.
    ValueError
        `probabilities` does not fit the model.
    ImportError
        PyTorch is missing.

    Examples
    --------
    >>> import fastbp as fb
    >>> net = fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], n_inputs=2)
    >>> fb.formats.to_torch(net)
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    """
    library = _import_torch()
    nn = library.nn
    network = describe(model, probabilities)
    dtype = getattr(library, network.dtype.name)
    modules: list[Any] = []
    for layer in network.layers:
        if isinstance(layer, Drop):
            modules.append(nn.Dropout(layer.rate))
            continue
        # Not initialized: that would draw from torch's global generator, which is the caller's.
        linear = nn.utils.skip_init(nn.Linear, *layer.W.shape, bias=layer.b is not None, dtype=dtype)
        with library.no_grad():
            # torch keeps weights as (out, in); copy_ makes them contiguous in its own order.
            linear.weight.copy_(library.from_numpy(np.array(layer.W.T)))
            if layer.b is not None:
                linear.bias.copy_(library.from_numpy(np.array(layer.b)))
        modules.append(linear)
        if layer.activation != "identity":
            modules.append(_module(layer.activation, nn))
    if network.head:
        modules.append(nn.Softmax(dim=1) if network.head == "softmax" else nn.Sigmoid())
    module: torch.nn.Sequential = nn.Sequential(*modules).eval()
    return module


def from_torch(module: torch.nn.Module) -> Sequential:
    """Return a feed-forward torch module as `Sequential`, with copies of its parameters.

    The module is run once beside the result, in evaluation mode on random rows, and a difference is refused.

    Parameters
    ----------
    module : torch.nn.Sequential or torch.nn.Linear
        Linear layers, each followed by at most one activation and any number of Dropout; Sequential inside
        Sequential, Identity, and Flatten (which does nothing to rows) are looked through. All of them torch's own
        classes, not subclasses, and without hooks.

    Returns
    -------
    Sequential
        Of the module's dtype, float32 or float64.

    Raises
    ------
    TypeError
        It is no torch module, or holds a layer fastbp does not have: "layer '2' is BatchNorm1d: ..."; or a layer has
        hooks (as weight_norm, spectral_norm and pruning leave them) or a forward of its own.
    ValueError
        An activation has parameters fastbp does not have (LeakyReLU(0.2)), stands where it cannot, the sizes of two
        layers do not fit, the dtypes differ, or the module answers otherwise than its layers say.
    ImportError
        PyTorch is missing.

    Examples
    --------
    >>> from torch import nn
    >>> import fastbp as fb
    >>> net = fb.formats.from_torch(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    >>> net.n_inputs, [layer.activation for layer in net.layers]
    (2, ['tanh', 'identity'])
    """
    library = _import_torch()
    nn = library.nn
    from fastbp.layers import Dense, Dropout
    from fastbp.sequential import Sequential

    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    layers: list[Any] = []
    linears: list[Any] = []
    open_for_activation = False
    for path, part in _parts(module, nn):
        if type(part) is nn.Linear:
            if linears and part.in_features != linears[-1].out_features:
                raise ValueError(
                    f"layer {path!r} takes {part.in_features} inputs, but the one before has "
                    f"{linears[-1].out_features} outputs"
                )
            layers.append(Dense(part.out_features, use_bias=part.bias is not None))
            linears.append(part)
            open_for_activation = True
        elif type(part) is nn.Dropout:
            layers.append(Dropout(part.p))
            open_for_activation = False
        else:
            name = _activation(path, part, nn)
            if not open_for_activation:
                kind = type(part).__name__
                raise ValueError(f"layer {path!r} is {kind}: an activation must follow a Linear directly")
            layers[-1] = Dense(layers[-1].units, name, use_bias=layers[-1].use_bias)
            open_for_activation = False
    if not linears:
        raise ValueError("module has no Linear layer")
    dtypes = {
        str(parameter.dtype).removeprefix("torch.") for part in linears for parameter in part.parameters()
    }
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise ValueError(f"module must be float32 or float64 throughout, got {', '.join(sorted(dtypes))}")
    model = Sequential(layers, n_inputs=linears[0].in_features, dtype=dtypes.pop())
    weights = [np.ascontiguousarray(part.weight.detach().cpu().numpy().T) for part in linears]
    biases = [None if part.bias is None else part.bias.detach().cpu().numpy() for part in linears]
    model.set_weights(weights, biases)
    _compare(library, module, model, linears[0].weight.device)
    return model


def _module(activation: str, nn: Any) -> Any:
    spelling = ACTIVATIONS[activation].torch
    if spelling is not None:
        return getattr(nn, spelling.name)(**spelling.arguments)
    if activation == "exp":
        return _exp()()
    raise ValueError(f"cannot export the activation {activation!r}: torch has no module for it")


def _compare(library: Any, module: Any, model: Sequential, device: Any) -> None:
    """Refuse a module that answers otherwise than the model made of it; random rows in evaluation mode."""
    x = np.random.default_rng(0).standard_normal((16, model.n_inputs)).astype(model.dtype)
    training = [part for part in module.modules() if part.training]
    try:
        module.eval()
        with library.no_grad():
            theirs = module(library.from_numpy(x).to(device)).cpu().numpy()
    finally:
        for part in training:
            part.training = True
    ours = model.predict(x)
    # What rounding may come to, by far; another function differs by more.
    tolerance = 1e-3 if model.dtype == np.float32 else 1e-8
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-30))
    if ours.shape != theirs.shape or not np.allclose(
        ours, theirs, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    ):
        raise ValueError(
            "module answers otherwise than its layers say (run once on random rows): something besides its layers "
            "takes part, such as a global hook"
        )


def _parts(module: Any, nn: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of a module in order, with their places; what does nothing to rows is left out."""
    _check_plain(module, path or type(module).__name__)
    if type(module) is nn.Identity or (type(module) is nn.Flatten and module.start_dim == 1):
        return []
    if type(module) is not nn.Sequential:
        return [(path or type(module).__name__, module)]
    # Not named_children, which leaves out the second use of one module.
    paths = [f"{path}.{i}" if path else f"{i}" for i in range(len(module))]
    return [
        leaf
        for child_path, child in zip(paths, module, strict=True)
        for leaf in _parts(child, nn, child_path)
    ]


def _check_plain(module: Any, path: str) -> None:
    """Refuse what makes a module compute something else than its class says."""
    kind = type(module).__name__
    if "forward" in vars(module):
        raise TypeError(
            f"layer {path!r} ({kind}) has a forward of its own, set on the object: remove it first"
        )
    hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    found = [
        getattr(hook, "__qualname__", type(hook).__name__)
        for name in hooks
        for hook in getattr(module, name).values()
    ]
    if found:
        raise TypeError(
            f"layer {path!r} ({kind}) has hooks ({', '.join(found)}), which fastbp cannot take over: remove them first "
            "(for example by torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove)"
        )


def _activation(path: str, part: Any, nn: Any) -> str:
    if type(part) is _exp():
        return "exp"
    kind = type(part).__name__
    if isinstance(part, (nn.Softmax, nn.LogSoftmax)):
        raise TypeError(f"layer {path!r} is {kind}: leave it out, fastbp's cross_entropy works on logits")
    known = {name: entry.torch for name, entry in ACTIVATIONS.items() if entry.torch and name != "identity"}
    for name, (module, arguments) in known.items():
        if type(part) is not getattr(nn, module):
            continue
        found = {key: getattr(part, key) for key in arguments}
        # Any threshold that leaves softplus as it is to 2e-9 will do.
        if name == "softplus" and found["threshold"] >= 20.0:
            found["threshold"] = arguments["threshold"]
        if found != arguments:
            raise ValueError(f"layer {path!r} is {part}: fastbp's {name} has {arguments}")
        return name
    own = "torch.nn.modules."
    base = next((cls.__name__ for cls in type(part).__mro__[1:] if cls.__module__.startswith(own)), "")
    derived = (
        f", a subclass of {base}, which may compute something else"
        if base not in ("", "Module") and not type(part).__module__.startswith(own)
        else ""
    )
    raise TypeError(
        f"layer {path!r} is {kind}{derived}: expected Linear, Dropout, Flatten, Identity, Sequential or one of "
        + ", ".join(sorted(module for module, _ in known.values()))
    )
