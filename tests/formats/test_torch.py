"""PyTorch: to_torch and from_torch give the same outputs and gradients; what does not fit is named."""

import pickle

import numpy as np
import pytest

import fastbp as fb
from fastbp.formats import from_torch, to_torch
from fastbp.layers import ACTIVATION_NAMES
from tests.formats.models import network

torch = pytest.importorskip("torch")
prune = pytest.importorskip("torch.nn.utils.prune")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_both_ways(rng, activation, dtype):
    net = network(activation, dtype)
    x = (0.2 if activation == "exp" else 2.0) * rng.normal(size=(20, 4)).astype(dtype)
    module = to_torch(net)
    y = module(torch.from_numpy(x)).detach().numpy()
    assert y.dtype == np.dtype(dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y, net.predict(x), rtol=tolerance, atol=tolerance)
    back = from_torch(module)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in net.layers]
    assert [repr(layer) for layer in back.layers] == [repr(layer) for layer in net.layers]
    assert back.dtype == net.dtype
    assert np.array_equal(back.predict(x), net.predict(x))


@pytest.mark.parametrize("activation", sorted({*ACTIVATION_NAMES} - {"exp"}))
def test_activations_far_out(activation):
    net = fb.Sequential([fb.Dense(1, activation)], n_inputs=1, dtype="float64")
    net.set_weights([[[1.0]]], [[0.0]])
    x = np.array([-1e4, -100.0, -20.0, -1e-3, 0.0, 1e-3, 19.0, 21.0, 79.0, 81.0, 1e4]).reshape(-1, 1)
    y = to_torch(net)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(y, net.predict(x), rtol=1e-13, atol=1e-13)


def test_gradients_agree(rng):
    net = network("silu", "float64")
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    module = to_torch(net)
    loss = nn.functional.mse_loss(module(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    value, grads = net.value_and_grad(x, y, loss="mse")
    assert value == pytest.approx(loss.item(), rel=1e-12)
    linears = [part for part in module if isinstance(part, nn.Linear)]
    for W, linear in zip(grads.weights, linears, strict=True):
        np.testing.assert_allclose(W, linear.weight.grad.numpy().T, atol=1e-12)


def test_module_is_independent_and_in_evaluation_mode(rng):
    net = network()
    module = to_torch(net)
    assert not module.training
    assert [part.p for part in module if isinstance(part, nn.Dropout)] == [0.1, 0.2]
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in module.parameters())
    before = net.weights[0].copy()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert np.array_equal(net.weights[0], before)
    back = from_torch(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    assert not back.weights[0].any()


def test_generators_of_torch_stay_where_they_were():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    to_torch(network())
    assert torch.equal(torch.rand(3), expected)


def test_exp_pickles_and_deep_copies(rng):
    module = to_torch(network("exp"))
    x = torch.from_numpy(rng.normal(size=(3, 4)).astype("float32"))
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), module(x))
    with pytest.raises(AttributeError, match="no attribute 'Log'"):
        _ = fb.formats.torch.Log


def test_probabilities(rng):
    net = network(dtype="float64")
    x = torch.from_numpy(rng.normal(size=(5, 4)))
    logits = to_torch(net)(x)
    assert torch.allclose(to_torch(net, probabilities=True)(x), logits.softmax(1))
    assert torch.allclose(to_torch(net, probabilities="sigmoid")(x), logits.sigmoid())


@pytest.mark.parametrize("classes", [2, 3])
def test_classifier(rng, classes):
    x = rng.normal(size=(60, 3))
    y = np.digitize(x[:, 0], np.linspace(-1, 1, classes + 1)[1:-1])
    model = fb.MLPClassifier((4,), max_iter=3, random_state=0).fit(x, y)
    p = to_torch(model, probabilities=True)(torch.from_numpy(x)).detach().numpy()
    expected = model.predict_proba(x)
    np.testing.assert_allclose(p, expected[:, 1:] if classes == 2 else expected, atol=1e-12)
    z = to_torch(model)(torch.from_numpy(x)).detach()
    np.testing.assert_allclose((z.sigmoid() if classes == 2 else z.softmax(1)).numpy(), p, atol=1e-12)
    with pytest.raises(ValueError, match="this model was trained with"):
        to_torch(model, probabilities="softmax" if classes == 2 else "sigmoid")


def test_regressor(rng):
    x = rng.normal(size=(60, 3)).astype("float32")
    model = fb.MLPRegressor("poisson", (4,), "logistic", max_iter=3, random_state=0).fit(x, np.abs(x[:, 0]))
    y = to_torch(model)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(y[:, 0], model.predict(x), rtol=1e-6)


# from_torch


def test_what_does_nothing_is_looked_through(rng):
    inner = nn.Sequential(nn.Linear(4, 5, dtype=torch.float64), nn.Identity(), nn.Softplus())
    module = nn.Sequential(
        nn.Flatten(), inner, nn.Dropout(0.25), nn.Sequential(nn.Linear(5, 2, bias=False, dtype=torch.float64))
    )
    net = from_torch(module)
    assert [repr(layer) for layer in net.layers] == [
        repr(layer) for layer in (fb.Dense(5, "softplus"), fb.Dropout(0.25), fb.Dense(2, use_bias=False))
    ]
    x = rng.normal(size=(6, 4))
    y = module.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(net.predict(x), y, atol=1e-8)  # torch's softplus is linear beyond 20


def test_a_module_used_twice_counts_twice(rng):
    relu, linear = nn.ReLU(), nn.Linear(4, 4)
    module = nn.Sequential(linear, relu, linear, relu)
    net = from_torch(module)
    assert [layer.activation for layer in net.layers] == ["relu", "relu"]
    x = rng.normal(size=(6, 4)).astype("float32")
    np.testing.assert_allclose(net.predict(x), module(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_single_linear(rng):
    linear = nn.Linear(4, 2)
    net = from_torch(linear)
    x = rng.normal(size=(6, 4)).astype("float32")
    np.testing.assert_allclose(net.predict(x), linear(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


LINEAR = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (3, TypeError, "module must be a torch.nn.Module, got int"),
        (nn.Sequential(), ValueError, "no Linear layer"),
        (nn.ReLU(), ValueError, "'ReLU' is ReLU: an activation must follow a Linear directly"),
        (
            nn.Sequential(LINEAR, nn.BatchNorm1d(2)),
            TypeError,
            "layer '1' is BatchNorm1d: expected Linear, Dropout",
        ),
        (nn.Sequential(nn.Sequential(LINEAR, nn.Conv1d(1, 1, 1))), TypeError, "layer '0.1' is Conv1d"),
        (
            nn.Sequential(LINEAR, nn.Softmax(1)),
            TypeError,
            "leave it out, fastbp's cross_entropy works on logits",
        ),
        (nn.Sequential(LINEAR, nn.LogSoftmax(1)), TypeError, "leave it out"),
        (nn.Sequential(LINEAR, nn.Flatten(0)), TypeError, "layer '1' is Flatten"),
        (
            nn.Sequential(LINEAR, nn.LeakyReLU(0.2)),
            ValueError,
            r"LeakyReLU\(negative_slope=0.2\): fastbp's leaky_relu has",
        ),
        (nn.Sequential(LINEAR, nn.ELU(2.0)), ValueError, "fastbp's elu has"),
        (nn.Sequential(LINEAR, nn.GELU("tanh")), ValueError, "fastbp's gelu has"),
        (nn.Sequential(LINEAR, nn.Hardtanh(0, 1)), ValueError, "fastbp's hard_tanh has"),
        (nn.Sequential(LINEAR, nn.Softplus(2)), ValueError, "fastbp's softplus has"),
        (nn.Sequential(LINEAR, nn.Softplus(1, 5)), ValueError, "fastbp's softplus has"),
        (nn.Sequential(LINEAR, nn.ReLU6()), TypeError, "layer '1' is ReLU6"),
        (
            nn.Sequential(LINEAR, nn.ReLU(), nn.Tanh()),
            ValueError,
            "layer '2' is Tanh: an activation must follow",
        ),
        (
            nn.Sequential(LINEAR, nn.Dropout(), nn.Tanh()),
            ValueError,
            "layer '2' is Tanh: an activation must follow",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), LINEAR),
            ValueError,
            "layer '1' takes 2 inputs, but the one before has 3 outputs",
        ),
        (
            nn.Sequential(LINEAR, nn.Linear(2, 2).double()),
            ValueError,
            "float32 or float64 throughout, got float32, float64",
        ),
        (nn.Linear(2, 2).bfloat16(), ValueError, "float32 or float64 throughout, got bfloat16"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(module, error, message):
    with pytest.raises(error, match=message):
        from_torch(module)


class Residual(nn.Sequential):
    def forward(self, z):
        return super().forward(z) + z


class Doubled(nn.Linear):
    def forward(self, z):
        return 2 * super().forward(z)


class Loud(nn.Dropout):
    def forward(self, z):
        return z + 1


class NotIdentity(nn.Identity):
    def forward(self, z):
        return -z


def with_own_forward():
    part = nn.Linear(2, 2)
    part.forward = lambda z: z
    return part


def with_hook(register):
    part = nn.Linear(2, 2)
    getattr(part, register)(lambda *arguments: None)
    return part


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the old form of the norms is deprecated
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Residual(nn.Linear(2, 2)), "'Residual' is Residual, a subclass of Sequential"),
        (lambda: Doubled(2, 2), "'1' is Doubled, a subclass of Linear"),
        (Loud, "'1' is Loud, a subclass of Dropout"),
        (NotIdentity, "'1' is NotIdentity, a subclass of Identity"),
        (with_own_forward, r"'1' \(Linear\) has a forward of its own"),
        (lambda: with_hook("register_forward_hook"), r"'1' \(Linear\) has hooks"),
        (lambda: with_hook("register_forward_pre_hook"), r"'1' \(Linear\) has hooks"),
        (lambda: with_hook("register_full_backward_hook"), r"'1' \(Linear\) has hooks"),
        (lambda: nn.utils.weight_norm(nn.Linear(2, 2)), r"'1' \(Linear\) has hooks \(WeightNorm\)"),
        (lambda: nn.utils.spectral_norm(nn.Linear(2, 2)), r"'1' \(Linear\) has hooks \(SpectralNorm\)"),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
            "'1' is ParametrizedLinear, a subclass",
        ),
        (
            lambda: prune.l1_unstructured(nn.Linear(2, 2), "weight", 0.5),
            r"'1' \(Linear\) has hooks \(L1Unstruc",
        ),
    ],
)
def test_modules_that_compute_something_else_are_refused(make, message):
    part = make()
    module = part if isinstance(part, Residual) else nn.Sequential(LINEAR, part)
    with pytest.raises(TypeError, match=message):
        from_torch(module)
    if isinstance(part, Residual):
        with pytest.raises(TypeError, match="layer '1' is Residual"):
            from_torch(nn.Sequential(LINEAR, part))


def test_the_module_is_run_beside_the_model():
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    module[1].eval()
    from_torch(module)
    assert [part.training for part in module.modules()] == [True, True, False, True]
    hook = nn.modules.module.register_module_forward_hook(lambda part, inputs, output: output + 1)
    try:
        with pytest.raises(ValueError, match="module answers otherwise than its layers say"):
            from_torch(module)
    finally:
        hook.remove()


def test_a_predict_of_its_own_is_not_exported():
    class Clipped(fb.Sequential):
        def predict(self, x, **options):
            return super().predict(x, **options).clip(0, 1)

    net = Clipped([fb.Dense(2)], n_inputs=3)
    for export in (to_torch, fb.formats.to_c):
        with pytest.raises(TypeError, match="Clipped has its own predict"):
            export(net)
