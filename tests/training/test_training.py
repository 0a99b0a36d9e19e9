"""`fit` and `Trainer`: what is minimized, in which order, what is recorded, and what an error leaves behind."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from scipy import sparse

from fastbp.callbacks import Callback, Checkpoint, DivergenceError
from fastbp.engine.sources import prepare
from fastbp.layers import Dense, Dropout
from fastbp.optimizers import SGD, Adam, NAdam, RMSProp
from fastbp.schedules import CosineDecay, ExponentialDecay, OneCycle, StepDecay
from fastbp.sequential import Sequential
from fastbp.training import History
from fastbp.training.trainer import Trainer


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(103, 4)).astype("float32")
    y = np.sin(x[:, :1]) * x[:, 1:2]
    return x, y


def make(dtype="float32", seed=0, dropout=0.0):
    return Sequential(
        [Dense(12, "tanh"), *([Dropout(dropout)] if dropout else []), Dense(1)], 4, dtype=dtype, seed=seed
    )


def theta(net):
    return net.engine.theta.copy()


def test_fit_learns(data):
    x, y = data
    history = make().fit(x, y, optimizer=Adam(1e-2), epochs=60, batch_size=16, verbose=0)
    assert len(history) == 60
    assert history.loss[-1] < 0.1 * history.loss[0]
    assert history.val_loss == []
    assert len(history.epoch_seconds) == len(history.learning_rate) == 60


def test_fit_is_trainer_steps(data):
    x, y = data
    net, twin = make(), make()
    history = net.fit(x, y, optimizer=Adam(1e-2), epochs=3, batch_size=20, shuffle=False, verbose=0)
    trainer = Trainer(twin, optimizer=Adam(1e-2))
    for epoch in range(3):
        losses = [trainer.step(x[i : i + 20], y[i : i + 20]) for i in range(0, 103, 20)]
        assert history.loss[epoch] == pytest.approx(np.average(losses, weights=[20] * 5 + [3]), rel=1e-6)
    np.testing.assert_array_equal(theta(net), theta(twin))
    assert trainer.steps == 18


@pytest.mark.parametrize("batch_size", [None, 1, 16, 1000])
def test_batch_sizes(data, batch_size):
    x, y = data
    net, twin = make("float64"), make("float64")
    net.fit(x, y, optimizer=SGD(0.01), batch_size=batch_size, shuffle=False, verbose=0)
    size = min(batch_size or 103, 103)
    for i in range(0, 103, size):
        _, grads = twin.value_and_grad(x[i : i + size], y[i : i + size])
        twin.engine.theta[:] -= 0.01 * grads.theta
    np.testing.assert_allclose(theta(net), theta(twin), rtol=1e-9, atol=1e-12)


def test_same_seed_same_weights(data):
    x, y = data

    def weights(**arguments):
        net = make(dropout=0.3)
        net.fit(x, y, epochs=3, verbose=0, **arguments)
        return theta(net)

    first = weights(seed=1, n_threads=1)
    np.testing.assert_array_equal(first, weights(seed=1, n_threads=2))
    np.testing.assert_array_equal(first, weights(seed=np.random.default_rng(1)))
    assert not np.array_equal(first, weights(seed=2))
    assert not np.array_equal(weights(seed=None), weights(seed=None))
    assert not np.array_equal(first, weights(seed=1, shuffle=False))


def test_threads_change_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 64)).astype("float32"), rng.integers(0, 10, 600)
    results = []
    for threads in (1, 2, None):
        net = Sequential([Dense(256, "relu"), Dropout(0.2), Dense(10)], 64)
        history = net.fit(x, y, loss="cross_entropy", batch_size=200, epochs=2, n_threads=threads, verbose=0)
        results.append((theta(net), history.loss))
    for parameters, loss in results[1:]:
        np.testing.assert_array_equal(parameters, results[0][0])
        assert loss == results[0][1]


def test_the_cuts_into_chunks_change_nothing(data, monkeypatch):
    """Where a chunk ends depends on the machine's load: the loss must not, to the last bit."""
    histories = []
    for seconds in (1e-9, 3e-5, 10.0):
        monkeypatch.setattr("fastbp.engine.session.CHUNK_SECONDS", seconds)
        histories.append(make().fit(*data, epochs=3, batch_size=7, verbose=0).loss)
    assert histories[0] == histories[1] == histories[2]


def test_shuffling_visits_every_row_once(data):
    x, y = data
    rows = np.eye(
        103, dtype="float32"
    )  # the gradient of a linear model on one-hot rows touches the weight of the row only
    net = Sequential([Dense(1, use_bias=False, initializer="zeros")], 103)
    net.fit(rows, np.ones(103), optimizer=SGD(0.5), batch_size=1, epochs=1, verbose=0)
    np.testing.assert_allclose(net.weights[0], 1.0)


def test_validation(data):
    x, y = data
    net = make()
    history = net.fit(
        x[:80], y[:80], validation_data=(x[80:], y[80:]), epochs=3, metrics=["r2", "mae"], verbose=0
    )
    assert history.val_loss[-1] == net.evaluate(x[80:], y[80:])
    assert history["val_r2"][-1] == net.evaluate(x[80:], y[80:], metrics="r2")["r2"]
    assert history.r2[-1] == net.evaluate(x[:80], y[:80], metrics="r2")["r2"]
    assert [len(history[name]) for name in ("loss", "val_loss", "r2", "val_r2", "mae", "val_mae")] == [3] * 6


def test_validation_split_is_the_end(data):
    x, y = data
    nets = [make(), make()]
    first = nets[0].fit(x, y, validation_split=0.25, epochs=2, verbose=0)
    cut = int(103 * 0.75)
    second = nets[1].fit(x[:cut], y[:cut], validation_data=(x[cut:], y[cut:]), epochs=2, verbose=0)
    assert first.val_loss == second.val_loss
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))


def test_validation_weights(data):
    x, y = data
    weight = np.arange(103.0)
    net = make()
    history = net.fit(x, y, validation_data=(x, y, weight), verbose=0)
    assert history.val_loss[-1] == net.evaluate(x, y, sample_weight=weight)


def test_rows_of_weight_zero_are_no_rows(data):
    x, y = data
    weight = np.where(np.arange(103) % 3 == 0, 0.0, 2.0)
    nets = [make(), make()]
    nets[0].fit(x, y, sample_weight=weight, batch_size=10, shuffle=False, verbose=0)
    nets[1].fit(x[weight > 0], y[weight > 0], batch_size=10, shuffle=False, verbose=0)
    np.testing.assert_allclose(theta(nets[0]), theta(nets[1]), rtol=1e-5, atol=1e-7)


def test_integer_weights_are_repetitions(data):
    x, y = data
    weight = np.random.default_rng(1).integers(1, 4, 103)
    nets = [make("float64"), make("float64")]
    nets[0].fit(x, y, sample_weight=weight, batch_size=None, epochs=5, verbose=0)
    again = np.repeat(np.arange(103), weight)
    nets[1].fit(x[again], y[again], batch_size=None, epochs=5, verbose=0)
    np.testing.assert_allclose(theta(nets[0]), theta(nets[1]), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("form", ["dense", "sparse", "map", "batches"])
@pytest.mark.parametrize("batch_size", [1, 10, None])
def test_loss_and_val_loss_of_the_same_weighted_rows_are_the_same(data, tmp_path, form, batch_size):
    """With steps too small to change the weights: a mean over rows by weight, however they fall into batches."""
    x, y = (part.astype("float64") for part in data)
    weight = np.random.default_rng(1).exponential(size=103) ** 3
    weight[::5] = 0.0
    net = make("float64")
    given = {"x": x, "y": y, "sample_weight": weight, "batch_size": batch_size}
    if form == "sparse":
        given["x"] = sparse.csr_array(x)
    elif form == "map":
        np.save(tmp_path / "x.npy", np.asfortranarray(x))
        given["x"] = np.load(tmp_path / "x.npy", mmap_mode="r")
    elif form == "batches":
        cuts = [slice(i, i + (batch_size or 103)) for i in range(1, 103, batch_size or 103)]
        given = {"x": [(x[cut], y[cut], weight[cut]) for cut in cuts if weight[cut].any()]}
    history = net.fit(
        **given, validation_data=(x, y, weight), epochs=2, optimizer=SGD(1e-30), callbacks=[], verbose=0
    )
    np.testing.assert_allclose(history.loss, history.val_loss, rtol=1e-12)
    assert history.loss[0] == pytest.approx(net.evaluate(x, y, sample_weight=weight), rel=1e-12)


def test_the_weighted_loss_of_a_resumed_epoch_is_the_same(data, tmp_path):
    x, y = data
    weight = np.random.default_rng(1).exponential(size=103) ** 3
    batches = [(x[i : i + 10], y[i : i + 10], weight[i : i + 10]) for i in range(0, 103, 10)]
    for given in ({"x": x, "y": y, "sample_weight": weight, "batch_size": 10}, {"x": batches}):
        whole = make().fit(**given, epochs=2, verbose=0).loss
        file = tmp_path / "run.safetensors"
        stop = type("Stop", (), {"on_chunk_end": lambda self, seconds, rows: True})()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastbp.engine.session.CHUNK_SECONDS", 0.0)  # a chunk per batch
            patch.setattr("fastbp.training.model_loop.STREAM_SECONDS", 0.0)
            make().fit(**given, epochs=2, callbacks=[stop, Checkpoint(file)], verbose=0)
        assert make().fit(**given, epochs=2, resume_from=file, verbose=0).loss == whole


def test_a_validation_split_without_weight_is_refused(data):
    weight = np.r_[np.ones(80), np.zeros(23)]
    with pytest.raises(ValueError, match="validation_split=0.2 holds out the last 21 rows.* weight 0"):
        make().fit(*data, sample_weight=weight, validation_split=0.2, verbose=0)
    weight[-1] = 1.0
    assert len(make().fit(*data, sample_weight=weight, validation_split=0.2, verbose=0).val_loss) == 1


def test_a_schedule_that_a_generator_leaves_without_length(data):
    with pytest.raises(ValueError, match=r"pass total=\.\.\. .*not from a generator"):
        make().fit(lambda: iter([data]), optimizer=Adam(CosineDecay(0.1)), verbose=0)
    history = make().fit(lambda: iter([data]), optimizer=Adam(CosineDecay(0.1, total=3)), epochs=3, verbose=0)
    assert history.learning_rate[0] > history.learning_rate[-1]


def test_class_weight_is_a_sample_weight(data):
    x, _ = data
    codes = (x[:, 0] > 1).astype(int)
    nets = [Sequential([Dense(2)], 4) for _ in range(3)]
    nets[0].fit(x, codes, loss="cross_entropy", class_weight={0: 1.0, 1: 4.0}, verbose=0)
    nets[1].fit(x, codes, loss="cross_entropy", sample_weight=np.where(codes, 4.0, 1.0), verbose=0)
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))
    nets[2].fit(x, codes, loss="cross_entropy", class_weight="balanced", verbose=0)
    assert not np.array_equal(theta(nets[0]), theta(nets[2]))


def test_sparse_is_dense(data):
    x, y = data
    thin = np.where(np.abs(x) > 1, x, 0)
    nets = [make("float64"), make("float64")]
    nets[0].fit(thin, y, epochs=3, verbose=0)
    nets[1].fit(sparse.csr_array(thin), y, epochs=3, verbose=0, validation_split=0.0)
    np.testing.assert_allclose(theta(nets[0]), theta(nets[1]), rtol=1e-9, atol=1e-12)
    history = make().fit(sparse.csr_matrix(thin), y, epochs=2, validation_split=0.2, metrics="mae", verbose=0)
    assert len(history.val_mae) == 2


@pytest.mark.parametrize("kind", ["list", "function", "loader"])
def test_iterables_of_batches(data, kind):
    x, y = data
    batches = [(x[i : i + 20], y[i : i + 20]) for i in range(0, 103, 20)]

    class Loader:
        def __iter__(self):
            return iter(batches)

    source = {"list": batches, "function": lambda: iter(batches), "loader": Loader()}[kind]
    nets = [make(), make()]
    first = nets[0].fit(
        source, epochs=3, validation_data=(x, y), metrics="mae", optimizer=Adam(StepDecay(1e-2, 1)), verbose=0
    )
    second = nets[1].fit(
        x, y, batch_size=20, shuffle=False, epochs=3, optimizer=Adam(StepDecay(1e-2, 1)), verbose=0
    )
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-7)
    assert len(first.val_mae) == 3
    assert "mae" not in first


def test_iterables_with_weights_and_growing_batches(data):
    x, y = data
    weight = np.arange(1.0, 104.0)
    edges = [0, 5, 12, 40, 103]
    batches = [(x[a:b], y[a:b], weight[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    nets = [make(), make()]
    nets[0].fit(batches, epochs=2, optimizer=Adam(OneCycle(1e-2)), verbose=0)
    trainer = Trainer(nets[1], optimizer=Adam(OneCycle(1e-2, 8)))
    for _ in range(2):
        for batch in batches:
            trainer.step(*batch)
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))


def test_torch_loader(data):
    torch = pytest.importorskip("torch")
    x, y = data
    dataset = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    nets = [make(), make()]
    nets[0].fit(torch.utils.data.DataLoader(dataset, batch_size=20), epochs=2, verbose=0)
    nets[1].fit(x, y, batch_size=20, shuffle=False, epochs=2, verbose=0)
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))


def test_a_spent_iterator(data):
    x, y = data
    net = make()
    before = theta(net)
    with pytest.raises(ValueError, match="gave no batch in epoch 2"):
        net.fit(iter([(x, y)]), epochs=2, verbose=0)
    np.testing.assert_array_equal(theta(net), before)
    with pytest.raises(TypeError, match=r"batch 0 must be \(x, y\)"):
        net.fit([x, y], verbose=0)
    with pytest.raises(ValueError, match="batch 1: X has 3 columns"):
        net.fit([(x, y), (x[:, :3], y)], verbose=0)
    np.testing.assert_array_equal(theta(net), before)


def test_schedules_in_fit(data):
    x, y = data
    history = make().fit(x, y, optimizer=SGD(StepDecay(0.1, 2, 0.5)), epochs=5, verbose=0)
    np.testing.assert_allclose(history.learning_rate, [0.1, 0.1, 0.05, 0.05, 0.025])
    history = make().fit(x, y, optimizer=SGD(CosineDecay(0.1)), epochs=3, batch_size=103, verbose=0)
    np.testing.assert_allclose(history.learning_rate, [0.1, 0.075, 0.025])
    nets = [make(), make()]
    nets[0].fit(
        x, y, optimizer=SGD(ExponentialDecay(0.1, 0.9, per="step")), batch_size=20, shuffle=False, verbose=0
    )
    trainer = Trainer(nets[1], optimizer=SGD(ExponentialDecay(0.1, 0.9, per="step")))
    for i in range(0, 103, 20):
        trainer.step(x[i : i + 20], y[i : i + 20])
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))


def test_memmap_passes_through(data, tmp_path, monkeypatch):
    x, y = data
    mapped = np.memmap(tmp_path / "x.dat", "float32", "w+", shape=x.shape)
    mapped[:] = x
    mapped.flush()
    mapped = np.memmap(tmp_path / "x.dat", "float32", "r", shape=x.shape)
    nets = [make(), make()]
    nets[0].fit(x, y, epochs=2, verbose=0)
    nets[1].fit(mapped, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(theta(nets[0]), theta(nets[1]))


def test_a_failed_fit_leaves_the_model(data):
    x, y = data

    class Fail(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                raise RuntimeError("no")

    net = make()
    before = theta(net)
    with pytest.raises(RuntimeError, match="no"):
        net.fit(x, y, epochs=3, callbacks=[Fail()], verbose=0)
    np.testing.assert_array_equal(theta(net), before)


def test_divergence(data):
    x, y = data
    net = make()
    before = theta(net)
    with pytest.raises(
        DivergenceError, match=r"in epoch \d+ \(learning rate 1e\+06\); a smaller learning rate"
    ):
        Sequential.fit(
            Sequential([Dense(4), Dense(4), Dense(1)], 4), x, y, optimizer=SGD(1e6), epochs=50, verbose=0
        )
    linear = Sequential([Dense(4), Dense(4), Dense(1)], 4)
    before = theta(linear)
    with pytest.raises(ArithmeticError):
        linear.fit(x, y, optimizer=SGD(1e6), epochs=50, verbose=0)
    np.testing.assert_array_equal(theta(linear), before)
    trainer = Trainer(linear, optimizer=SGD(1e6))
    assert not np.isfinite([trainer.step(x, y) for _ in range(10)][-1])


def test_interrupt_keeps_the_last_batch(data):
    x, y = data

    class Interrupt(Callback):
        closed = False

        def on_chunk_end(self, seconds, samples):
            raise KeyboardInterrupt

        def close(self):
            self.closed = True

    net, hook = make(), Interrupt()
    before = theta(net)
    with pytest.raises(KeyboardInterrupt):
        net.fit(x, y, epochs=3, callbacks=[hook], verbose=0)
    assert hook.closed
    assert not np.array_equal(theta(net), before)
    assert np.isfinite(theta(net)).all()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_within_an_epoch():
    code = textwrap.dedent("""
        import os, signal, threading
        import numpy as np
        from fastbp.layers import Dense
        from fastbp.sequential import Sequential
        x = np.random.default_rng(0).normal(size=(20000, 20)).astype("float32")
        y = x[:, :1].copy()
        net = Sequential([Dense(64, "relu"), Dense(1)], 20)
        net.fit(x[:64], y[:64], verbose=0)                                # compile
        start = net.engine.theta.copy()
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            net.fit(x, y, epochs=1000000, verbose=0)
        except KeyboardInterrupt:
            print("interrupted", np.isfinite(net.engine.theta).all(), (net.engine.theta != start).any())
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "interrupted True True\n", done.stderr


def test_gradient_clipping(data):
    x, y = data
    nets = [make("float64"), make("float64")]
    nets[0].fit(x, 1000 * y, optimizer=SGD(1.0), batch_size=None, max_grad_norm=0.5, verbose=0)
    _, grads = nets[1].value_and_grad(x, 1000 * y)
    step = np.linalg.norm(theta(nets[0]) - theta(nets[1]))
    assert np.linalg.norm(grads.theta) > 0.5
    assert step == pytest.approx(0.5, rel=1e-5)


def test_a_pipe_gets_a_line_per_epoch(data, capsys):
    x, y = data
    make().fit(x, y, epochs=2, verbose=1)
    make().fit(x, y, epochs=2, verbose=0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split()[1] for line in captured.err.splitlines()] == ["1/2", "2/2"]


def test_a_history_is_a_table(data):
    pd = pytest.importorskip("pandas")
    x, y = data
    history = make().fit(x, y, epochs=3, validation_split=0.2, metrics="mae", verbose=0)
    frame = pd.DataFrame(history)
    assert len(frame) == len(list(history)) == 3
    for name in ("loss", "val_loss", "mae", "val_mae", "learning_rate"):
        assert frame[name].tolist() == history[name]
    assert "val_loss" not in pd.DataFrame(make().fit(x, y, epochs=3, verbose=0))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be an integer >= 1"),
        ({"epochs": 2.5}, TypeError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1"),
        ({"verbose": 3}, ValueError, "verbose must be 0, 1 or 2"),
        ({"loss": "msee"}, ValueError, "did you mean 'mse'"),
        ({"optimizer": "adma"}, ValueError, "did you mean 'adam'"),
        ({"validation_data": 3}, TypeError, r"validation_data must be \(x, y\)"),
        (
            {"validation_data": (np.zeros((2, 3)), np.zeros(2))},
            ValueError,
            "validation_data: X has 3 columns",
        ),
        ({"validation_data": (np.zeros((2, 4)), np.zeros(3))}, ValueError, "validation_data: y has 3 rows"),
        ({"validation_split": 1.0}, ValueError, "validation_split must be"),
        ({"validation_split": 0.999}, ValueError, "leaves one side empty"),
        (
            {"validation_split": 0.5, "validation_data": (np.zeros((2, 4)), np.zeros(2))},
            ValueError,
            "not both",
        ),
        ({"class_weight": {0: 1.0}}, ValueError, "class_weight needs classes"),
        ({"callbacks": [Callback]}, TypeError, "got the class Callback"),
        ({"callbacks": [object()]}, TypeError, "has none of the hooks"),
        ({"max_grad_norm": 0.0}, ValueError, "max_grad_norm"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"resume_from": "nowhere.safetensors"}, FileNotFoundError, "nowhere"),
    ],
)
def test_argument_errors(data, arguments, error, message):
    net = make()
    before = theta(net)
    with pytest.raises(error, match=message):
        net.fit(*data, **{"verbose": 0, **arguments})
    np.testing.assert_array_equal(theta(net), before)


def test_errors_of_iterables(data):
    x, y = data
    for arguments in ({"sample_weight": np.ones(103)}, {"class_weight": {0: 1}}, {"validation_split": 0.5}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            make().fit([(x, y)], verbose=0, **arguments)
    with pytest.raises(TypeError, match="iterable of batches"):
        make().fit(3, verbose=0)
    with pytest.raises(ValueError, match="y is missing"):
        make().fit(x, verbose=0)
    with pytest.raises(ValueError, match="X has 0 rows"):
        make().fit(x[:0], y[:0], verbose=0)
    with pytest.raises(ValueError, match="weight 0"):
        Sequential([Dense(2)], 4).fit(
            x, np.zeros(103, int), loss="cross_entropy", class_weight={0: 0.0}, verbose=0
        )


def test_trainer_takes_what_fit_takes(data):
    x, y = data
    expected = Trainer(make()).step(x, y)
    for other in (
        (x.tolist(), y.tolist()),
        (x.astype(float), y),
        (sparse.csr_array(x), y),
        (x, y[:, 0]),
        (np.asfortranarray(x), y),
    ):
        assert Trainer(make()).step(*other) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="X has 3 columns"):
        Trainer(make()).step(x[:, :3].tolist(), y)
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        Trainer(make()).step(np.ascontiguousarray(x[:, :3]), y)
    with pytest.raises(ValueError, match="y must have shape"):
        Trainer(make()).step(x, y[:50])
    classifier = Trainer(Sequential([Dense(3)], 4), loss="cross_entropy")
    with pytest.raises(ValueError, match="class"):
        classifier.step(x, np.full(103, 3))


def test_trainer_keeps_its_state(data):
    x, y = data
    net, twin = make(), make()
    trainer, other = Trainer(net, optimizer="nadam"), Trainer(twin, optimizer="nadam")
    for n in (3, 10, 50, 2, 103):
        trainer.step(x[:n], y[:n])
    other.reserve(103)
    for n in (3, 10, 50, 2, 103):
        other.step(x[:n], y[:n])
    np.testing.assert_array_equal(theta(net), theta(twin))
    copy = Trainer(net.copy(), optimizer="nadam")
    copy.reserve(103)
    copy.steps = trainer.steps
    for name, values in trainer.slots.items():
        copy.slots[name][:] = values
    assert copy.step(x, y) == trainer.step(x, y)
    assert copy.step(x, y) == trainer.step(x, y)


@pytest.mark.parametrize("optimizer", [NAdam(), NAdam(beta1=0.5), NAdam(momentum_decay=0.0), NAdam(momentum_decay=1e3)],
                         ids=["default", "fast", "constant", "high"])  # fmt: skip
def test_the_number_of_steps_gives_the_product_of_nadam(optimizer, data):
    """To the last bit as the kernel has multiplied it, also where it has become the smallest number or 0."""
    x, y = data
    trainer, other = Trainer(make(), optimizer=optimizer), Trainer(make(), optimizer=optimizer)
    for steps in (1, 2, 399, 5000, 4000):
        for _ in range(steps):
            trainer.session.update(rows_of(trainer, x[:1], y[:1]), 0.0)
        other.steps = trainer.steps
        assert other.session.product == trainer.session.product


def rows_of(trainer, x, y):
    return prepare(trainer.engine.layout, x, y, None, trainer.objective).whole()


@pytest.mark.parametrize("beta1", [0.0, 0.9, 0.999999, 1.0 - 2.0**-53])
@pytest.mark.parametrize("decay", [0.0, 0.004, 100.0, 1e300])
def test_the_product_of_a_long_run_takes_no_time(beta1, decay):
    """A loop over all steps would not end in this century."""
    trainer = Trainer(make(), optimizer=NAdam(beta1=beta1, momentum_decay=decay))
    trainer.steps = 2**53
    product = trainer.session.product
    assert 0.0 <= product < 1.0
    assert (product > 0.1) == (beta1 > 0.99999999 and decay >= 100.0)
    trainer.steps = 0
    assert trainer.session.product == 1.0


def test_trainer_per_epoch_schedule(data):
    x, y = data
    net, twin = make(), make()
    trainer = Trainer(net, optimizer=RMSProp(StepDecay(1e-2, 1)))
    trainer.step(x, y)
    trainer.epoch = 1
    trainer.step(x, y)
    twin.fit(x, y, optimizer=RMSProp(StepDecay(1e-2, 1)), epochs=2, batch_size=None, verbose=0)
    np.testing.assert_array_equal(theta(net), theta(twin))
    with pytest.raises(ValueError, match="does not know its length"):
        Trainer(make(), optimizer=SGD(OneCycle(0.1))).step(x, y)


def test_history():
    history = History({"loss": [1.0]})
    history.append({"loss": 0.5, "extra": 2.0})
    assert history.loss == [1.0, 0.5]
    assert history.extra == history["extra"] == [2.0]
    assert "extra" in history
    assert "2 epochs" in repr(history)
    with pytest.raises(AttributeError, match="has no 'accuracy'; it has loss"):
        _ = history.accuracy
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(history)).logs == copy.deepcopy(history).logs == history.logs
