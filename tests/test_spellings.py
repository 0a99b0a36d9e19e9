"""Names that users type: every spelling of the field leads to the entry that computes the same, and to no other."""

import inspect
import os

import numpy as np
import pytest
from sklearn.base import clone

import fastbp as fb
from fastbp import initializers, metrics, objectives, optimizers, reference
from fastbp.estimators.choices import ACTIVATION, LOSS, SOLVER
from fastbp.spellings import Call, Names, Spelling, activations, did_you_mean, losses
from fastbp.spellings import optimizers as solvers
from fastbp.spellings.names import plain
from tests.entries import other, targets

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TABLES = {
    "activation": (activations.ACTIVATIONS, reference.ACTIVATIONS),
    "loss": (losses.LOSSES, reference.LOSSES),
    "optimizer": (solvers.OPTIMIZERS, reference.RULES),
}
X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(axis=1)


@pytest.mark.parametrize("kind", TABLES)
def test_every_entry_has_its_row(kind):
    rows, entries = TABLES[kind]
    assert set(rows) == set(entries)


# What a name means -------------------------------------------------------------------------------------------

MEANINGS = {
    "activation": """
        relu: ReLU Relu RELU rectifier;  silu: swish Swish SiLU;  sigmoid: logistic Logistic Sigmoid expit
        identity: linear Linear none Identity;  leaky_relu: LeakyReLU leakyrelu leaky-relu Leaky_ReLU
        exp: exponential;  hard_tanh: Hardtanh hardtanh HardTanh;  hard_sigmoid: Hardsigmoid hardsigmoid
        selu: SELU;  gelu: GELU;  elu: ELU;  tanh: Tanh;  mish: Mish;  softplus: SoftPlus;  softsign: Softsign
    """,
    "loss": """
        mse: MSE MSELoss mse_loss mean_squared_error MeanSquaredError
        mae: MAE L1Loss l1_loss mean_absolute_error MeanAbsoluteError absolute_error
        huber: Huber HuberLoss huber_loss;  log_cosh: logcosh LogCosh;  poisson: PoissonNLLLoss
        quantile: pinball pinball_loss mean_pinball_loss
        cross_entropy: CrossEntropyLoss crossentropy log_loss categorical_crossentropy CategoricalCrossentropy
        cross_entropy: sparse_categorical_crossentropy SparseCategoricalCrossentropy
        binary_cross_entropy: bce BCE binary_crossentropy BinaryCrossentropy BCEWithLogitsLoss
        half_squared_error: HalfSquaredError
    """,
    "optimizer": """
        sgd: SGD Sgd;  adam: ADAM Adam;  adamw: AdamW;  nadam: Nadam NAdam;  rmsprop: RMSprop RMSProp rms_prop
        adagrad: Adagrad AdaGrad;  rprop: Rprop RProp
    """,
    "initializer": """
        glorot_uniform: xavier_uniform xavier_uniform_ GlorotUniform;  glorot_normal: xavier_normal xavier_normal_
        he_uniform: kaiming_uniform HeUniform;  he_normal: kaiming_normal_ HeNormal;  lecun_normal: LecunNormal
        normal: random_normal RandomNormal;  uniform: random_uniform;  zeros: Zeros zeros_
    """,
}
WORDS = [
    (kind, word, name.strip())
    for kind, text in MEANINGS.items()
    for name, words in (item.split(":") for line in text.strip().splitlines() for item in line.split(";"))
    for word in [name.strip(), *words.split()]
]
READ = {
    "activation": lambda word: fb.Dense(1, word).activation,
    "loss": lambda word: objectives.get(word).name,
    "optimizer": lambda word: optimizers.get(word).rule().kind,
    "initializer": lambda word: initializers.get(word).name,
}


@pytest.mark.parametrize(("kind", "word", "name"), WORDS)
def test_a_word_means_an_entry(kind, word, name):
    """What is kept is our own name."""
    assert READ[kind](word) == name


@pytest.mark.parametrize(("kind", "word", "name"), [item for item in WORDS if item[0] != "initializer"])
def test_the_estimators_take_it_too(kind, word, name):
    choice = {"activation": ACTIVATION, "loss": LOSS, "optimizer": SOLVER}[kind]
    theirs = {ours: option for option in choice.options if (ours := choice.ours(option)) != option}
    option = theirs.get(name, name)
    if kind == "loss" and reference.LOSSES[name].activation != "identity" and word != "poisson":
        option = None  # classes, and a Poisson loss that is put together otherwise
    if option not in choice.options:
        option = None
    assert choice.find(word) == option


def test_arguments_go_with_any_spelling():
    assert objectives.get("HuberLoss(0.3)") == objectives.get("huber(0.3)")
    assert objectives.get("pinball(0.9)") == objectives.get("quantile(0.9)")
    assert str(initializers.get("RandomNormal(0.2)")) == "normal(0.2)"


def test_metrics_are_logged_by_our_name():
    assert list(metrics.named(["MeanAbsoluteError", "r2"])) == ["mae", "r2"]
    with pytest.raises(ValueError, match=r"did you mean 'mae'\?"):
        metrics.named("maee")


def test_gradient_descent_takes_it_too():
    plain, spelled = (
        fb.gradient_descent(lambda x: x * x, lambda x: 2 * x, 1.0, optimizer=name)
        for name in ("adam", "Adam")
    )
    assert plain.x == spelled.x


def test_files_hold_our_names(tmp_path):
    net = fb.Sequential([fb.Dense(2, "Swish", initializer="xavier_normal"), fb.Dense(1)], n_inputs=3)
    net.save(tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes().lower()
    assert b"silu" in content and b"glorot_normal" in content
    assert b"swish" not in content and b"xavier" not in content
    assert fb.load(tmp_path / "m.safetensors").layers[0] == fb.Dense(2, "silu", initializer="glorot_normal")


# The estimators ----------------------------------------------------------------------------------------------

SPELLED = {
    "activation": "Sigmoid",
    "solver": "RMSprop",
    "loss": "MeanAbsoluteError",
    "out_activation": "SoftPlus",
}
OURS = {"activation": "logistic", "solver": "rmsprop", "loss": "absolute_error", "out_activation": "softplus"}


def test_an_estimator_keeps_what_it_was_given():
    """scikit-learn's rule: __init__ and clone leave parameters alone, and so does fit."""
    net = fb.MLPRegressor(
        hidden_layer_sizes=(4,), **SPELLED, max_iter=20, n_iter_no_change=30, tol=0.0, random_state=0
    )
    for one in (net, clone(net), net.fit(X, np.abs(Y))):
        assert {name: one.get_params()[name] for name in SPELLED} == SPELLED
    assert net.out_activation_ == "softplus"


def test_spelled_otherwise_it_is_the_same_fit(tmp_path):
    per_layer = {**OURS, "activation": ["sigmoid", "Logistic"]}
    settings = {"hidden_layer_sizes": (4, 3), "max_iter": 5, "random_state": 0, "early_stopping": True}
    first, *others = (
        fb.MLPRegressor(**names, **settings).fit(X, np.abs(Y)) for names in (SPELLED, OURS, per_layer)
    )
    fb.formats.save(first, tmp_path / "m.safetensors")
    loaded = fb.load(tmp_path / "m.safetensors")
    for net in (*others, loaded):
        assert np.array_equal(net.predict(X), first.predict(X))
    assert loaded.get_params()["activation"] == "Sigmoid"


def test_to_sklearn_speaks_scikit_learns_language():
    net = fb.MLPClassifier((4,), "Sigmoid", solver="ADAM", max_iter=300, tol=0.1, random_state=0)
    net.fit(X, Y > 0)
    plain = net.to_sklearn()
    assert (plain.activation, plain.solver) == ("logistic", "adam")
    assert np.array_equal(plain.predict(X), net.predict(X))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"activation": "sigmod"}, r"Got 'sigmod' instead \(did you mean 'sigmoid', here 'logistic'\?\)"),
        ({"activation": "softmax"}, "Got 'softmax' instead: it is the output of MLPClassifier"),
        ({"activation": "exponential"}, "Got 'exponential' instead: it is the output of MLPRegressor"),
        ({"activation": ["tanhh"]}, r"'tanhh' is not one of .* \(did you mean 'tanh'\?\)"),
        ({"solver": "adamm"}, r"Got 'adamm' instead \(did you mean 'adam' or 'adamw'\?\)"),
        ({"solver": "lbgfs"}, r"Got 'lbgfs' instead \(did you mean 'lbfgs'\?\)"),
        (
            {"loss": "mean_squared_error"},
            "Got 'mean_squared_error' instead: 'squared_error' is scikit-learn's",
        ),
        ({"loss": "cross_entropy"}, "Got 'cross_entropy' instead: classes are for MLPClassifier"),
        ({"loss": "squared_eror"}, r"Got 'squared_eror' instead \(did you mean 'squared_error'\?\)"),
        ({"solver": "ftrl"}, r"Got 'ftrl' instead\.$"),
        ({"solver": 3}, r"Got 3 instead\.$"),
    ],
    ids=str,
)
def test_estimators_list_and_advise(params, message):
    with pytest.raises(ValueError, match=message):
        fb.MLPRegressor(**params).fit(X, Y)


# Slips and strangers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "word", "guess"),
    [
        ("activation", "rleu", "'relu'"),
        ("activation", "sigmod", "'sigmoid'"),
        ("activation", "swihs", "'swish', here 'silu'"),
        ("activation", "gleu", "'gelu'"),
        ("activation", "hard", "'hard_sigmoid' or 'hard_tanh'"),
        ("loss", "cross_entorpy", "'cross_entropy'"),
        ("loss", "mean_squared_eror", "'mean_squared_error', here 'mse'"),
        ("loss", "hubber", "'huber'"),
        ("optimizer", "adma", "'adam'"),
        ("optimizer", "adamm", "'adam' or 'adamw'"),
        ("initializer", "he_norml", "'he_normal'"),
        (
            "initializer",
            "xavier",
            "'xavier_normal_', here 'glorot_normal' or 'xavier_uniform_', here 'glorot_uniform'",
        ),
    ],
)
def test_a_slip_is_guessed(kind, word, guess):
    with pytest.raises(ValueError, match=kind) as caught:
        READ[kind](word)
    assert str(caught.value).endswith(f"got {word!r} (did you mean {guess}?)")


@pytest.mark.parametrize(
    ("kind", "word", "advice"),
    [
        ("activation", "softmax", "loss='cross_entropy', which contains the softmax"),
        ("activation", "LogSoftmax", "loss='cross_entropy', which contains the softmax"),
        ("loss", "squared_error", "'half_squared_error' half of their sum"),
        ("loss", "SmoothL1Loss", "with beta=1 it is 'huber'"),
        ("loss", "BCELoss", "'binary_cross_entropy' takes logits"),
        ("loss", "nll_loss", "'cross_entropy' takes logits"),
        ("loss", "RMSE", "it is least where 'mse' is"),
        ("optimizer", "momentum", "write SGD(learning_rate, momentum=0.9)"),
        ("optimizer", "LBFGS", "solver='lbfgs'"),
    ],
)
def test_what_is_not_the_same_gets_advice(kind, word, advice):
    with pytest.raises(ValueError, match=kind) as caught:
        READ[kind](word)
    assert advice in str(caught.value) and "did you mean" not in str(caught.value)


# Everything that Keras and PyTorch have and that we have not, as of Keras 3.15 and PyTorch 2.13.
STRANGERS = {
    "activation": """
        celu glu hard_shrink hard_silu hard_swish log_sigmoid relu6 soft_shrink sparse_plus sparse_sigmoid sparsemax
        squareplus tanh_shrink threshold CELU GLU Hardshrink Hardswish LogSigmoid MultiheadAttention PReLU RReLU ReLU6
        Softmin Softshrink Tanhshrink Threshold crelu geglu swiglu sine
    """,
    "loss": """
        BinaryFocalCrossentropy CTC CategoricalFocalCrossentropy CategoricalHinge Circle CosineSimilarity Dice Hinge
        KLDivergence MeanAbsolutePercentageError MeanSquaredLogarithmicError SquaredHinge Tversky mape msle smape mase
        mspe AdaptiveLogSoftmaxWithLoss CTCLoss CosineEmbeddingLoss GaussianNLLLoss HingeEmbeddingLoss KLDivLoss
        MarginRankingLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss SoftMarginLoss
        TripletMarginLoss TripletMarginWithDistanceLoss gamma tweedie exponential
    """,
    "optimizer": """
        Adadelta Adafactor Adamax Ftrl Lamb Lion LossScaleOptimizer Muon ScheduleFreeAdamW ASGD RAdam SparseAdam amsgrad
        adabelief adan adamp lars lookahead nadamw sgdw sgdp yogi
    """,
    "initializer": """
        Constant Orthogonal VarianceScaling dirac_ eye_ lecun_uniform ones sparse_ trunc_normal_ truncated_normal
    """,
}


ROWS = {"activation": activations.ACTIVATIONS, "loss": losses.LOSSES, "optimizer": solvers.OPTIMIZERS}
# What a row claims is no stranger any more.
CLAIMED = {
    (kind, plain(word))
    for kind, rows in ROWS.items()
    for name, row in rows.items()
    for word in (name, *row.words())
}


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (kind, word)
        for kind, text in STRANGERS.items()
        for word in text.split()
        if (kind, plain(word)) not in CLAIMED
    ],
)
def test_a_stranger_is_taken_for_nothing_else(kind, word):
    with pytest.raises(ValueError, match=kind) as caught:
        READ[kind](word)
    assert str(caught.value).endswith(f"got {word!r}")


@pytest.mark.parametrize(
    "value", [3, None, ["relu"], b"relu", 1.5, "x" * 10**6], ids=lambda value: repr(value)[:9]
)
def test_what_is_no_name_is_refused_in_one_line(value):
    with pytest.raises(ValueError, match="activation must be one of") as caught:
        activations.NAMES.check(value, "activation")
    assert len(str(caught.value)) < 400


def test_a_row_cannot_claim_a_word_of_another():
    with pytest.raises(ValueError, match="'Swish' is spelled for 'silu' and for 'mish'"):
        Names({"silu": Spelling(synonyms=("swish",)), "mish": Spelling(torch=Call("Swish"))}, {})
    with pytest.raises(ValueError, match="known and a stranger: swish"):
        Names({"silu": Spelling(synonyms=("swish",))}, {"Swish": ""})


def test_far_words_and_short_words_are_not_guessed_at():
    assert did_you_mean("to", ["tanh"]) == did_you_mean("leaf", ["relu"]) == did_you_mean("relu", []) == ""


def test_class_codes_without_a_loss_say_cross_entropy():
    codes = np.arange(40) % 3
    net = fb.Sequential([fb.Dense(3)], n_inputs=3)
    for y in (codes, codes.astype(float), codes[:, None], codes.tolist()):
        with pytest.raises(ValueError, match=r"loss='mse', got .*; class codes need loss='cross_entropy'"):
            net.fit(X, y)
    with pytest.raises(ValueError, match=r"got \(40,\)$"):
        net.fit(X, Y)


# The same numbers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


@pytest.mark.parametrize("name", [name for name, row in activations.ACTIVATIONS.items() if row.keras])
def test_keras_activation_is_ours(name, keras):
    call = activations.ACTIVATIONS[name].keras
    z = np.linspace(-5, 5, 41)
    theirs = getattr(keras.activations, call.name)(
        keras.ops.convert_to_tensor(z, "float64"), **call.arguments
    )
    mine = [reference.ACTIVATIONS[name].f(v) for v in z]
    np.testing.assert_allclose(theirs.tolist(), mine, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, row in losses.LOSSES.items() if row.keras])
def test_keras_loss_is_ours(name, keras, rng):
    entry, call = reference.LOSSES[name], losses.LOSSES[name].keras
    z, y = rng.normal(size=(6, 4)), targets(name, rng, 6, 4)
    symbols = {entry.parameter.symbol: other(name)} if entry.parameter else {}
    tensors = (keras.ops.convert_to_tensor(part, "float64") for part in (y, z))
    theirs = getattr(keras.losses, call.name)(*tensors, **call.arguments, **symbols)
    mine = [entry.value(a, b, *symbols.values()) for a, b in zip(z.tolist(), y.tolist(), strict=True)]
    np.testing.assert_allclose(theirs.tolist(), mine, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, row in solvers.OPTIMIZERS.items() if row.keras])
def test_keras_has_the_optimizer(name, keras):
    assert isinstance(getattr(keras.optimizers, solvers.OPTIMIZERS[name].keras.name), type)


@pytest.mark.parametrize("name", solvers.OPTIMIZERS)
def test_an_optimizer_is_called_as_its_rule_and_sets_what_the_rule_takes(name):
    kind = optimizers.OPTIMIZERS[name]
    rule, fields = kind().rule(), set(kind.__dataclass_fields__) - {"learning_rate"}
    assert rule.kind == name
    assert fields <= set(rule.__dataclass_fields__)
    taken = inspect.signature(reference.RULES[name].rule).parameters
    for field in fields:
        assert taken[field].default == getattr(rule, field), field
