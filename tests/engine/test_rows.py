"""Rows: converted, copied, checked once, and kept; what a kernel trusts is a copy that nobody else holds."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

import fastbp as fb
from fastbp.engine import Engine, Session, sources
from fastbp.engine.layout import layout_of
from fastbp.engine.loading import load_kernels
from fastbp.engine.rows import Rows
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule

CODES = Objective("cross_entropy")


@pytest.fixture(params=["float32", "float64"])
def layout(request):
    return layout_of(3, [Layer(4, "tanh"), Layer(2)], request.param)


@pytest.fixture
def sparse(layout, rng):
    dense = rng.normal(size=(20, 3)) * (rng.random((20, 3)) < 0.6)
    return scipy.sparse.csr_matrix(dense.astype(layout.dtype))


def test_numbers_stay_the_callers_memory(layout):
    """Any number is harmless to a kernel: dense rows, targets and sparse values are not copied."""
    x, y = np.ones((5, 3), layout.dtype), np.ones((5, 2), layout.dtype)
    rows = Rows(layout, x, y)
    assert np.shares_memory(rows.values, x) and np.shares_memory(rows.y, y)
    assert (rows.n, rows.mass, rows.sparse, rows.codes) == (5, 5.0, False, False)
    matrix = scipy.sparse.csr_matrix(x)
    assert np.shares_memory(Rows(layout, matrix).values, matrix.data)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_class_codes_are_copied_then_checked(kind, layout):
    x, codes = np.ones((4, 3), layout.dtype), np.array([0, 1, 1, 0], kind)
    rows = Rows(layout, x, codes, objective=CODES)
    codes[:] = 100
    assert rows.codes and rows.y.dtype == layout.dtype
    assert rows.y.tolist() == [0.0, 1.0, 1.0, 0.0] == rows.targets.tolist()
    with pytest.raises(ValueError, match="y must hold class codes from 0 to 1, got 100 to 100"):
        Rows(layout, x, codes, objective=CODES)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_index_arrays_are_copied_then_checked(index, layout, sparse):
    sparse.indices, sparse.indptr = sparse.indices.astype(index), sparse.indptr.astype(index)
    rows = Rows(layout, sparse)
    want = sparse.toarray()
    sparse.indices[:], sparse.indptr[1:] = 10**6, 10**6
    assert rows.indices.dtype == rows.indptr.dtype == np.int32
    back = scipy.sparse.csr_matrix((rows.values, rows.indices, rows.indptr), want.shape)
    np.testing.assert_array_equal(back.toarray(), want)
    with pytest.raises(ValueError, match=r"x holds column indices outside 0\.\.2"):
        Rows(layout, sparse)


def test_weights_are_copied(layout):
    weights = np.array([1.0, 2.0, 3.0])
    rows = Rows(layout, np.ones((3, 3), layout.dtype), np.ones((3, 2), layout.dtype), weights)
    weights[:] = 0.0
    assert rows.weights.tolist() == [1.0, 2.0, 3.0]
    assert rows.mass == 6.0


@pytest.mark.parametrize(
    "change",
    [
        lambda x: setattr(x, "data", x.data[:-1]),
        lambda x: setattr(x, "indices", x.indices[:-1]),
        lambda x: setattr(x, "indptr", x.indptr[:-1]),
        lambda x: setattr(x, "indptr", x.indptr[::-1].copy()),
        lambda x: setattr(x, "indices", x.indices.astype(float)),
    ],
    ids=["few values", "few indices", "few rows", "falling", "no integers"],
)
def test_the_arrays_of_a_sparse_matrix_are_checked_against_each_other(change, layout, sparse):
    change(sparse)
    with pytest.raises(ValueError, match="x is not a valid CSR matrix: indptr does not fit indices"):
        Rows(layout, sparse)


def test_wide_indices_are_checked_before_they_are_narrowed(layout, sparse):
    """2^32 + 1 would be column 1 in 32 bits."""
    sparse.indices = sparse.indices.astype(np.int64)
    sparse.indices[0] += 2**32
    with pytest.raises(ValueError, match=r"x holds column indices outside 0\.\.2"):
        Rows(layout, sparse)


def scrambled(x, rng):
    """Return the matrix with every entry in two halves, in any order."""
    rows = []
    for r in range(x.shape[0]):
        part = slice(x.indptr[r], x.indptr[r + 1])
        columns, values = np.tile(x.indices[part], 2), np.tile(x.data[part] / 2, 2)
        mixed = rng.permutation(len(columns))
        rows.append((columns[mixed], values[mixed]))
    indptr = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    data = np.concatenate([values for _, values in rows]).astype(x.dtype)
    return type(x)((data, np.concatenate([columns for columns, _ in rows]), indptr), x.shape)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
@pytest.mark.parametrize("flag", [None, True, False])
def test_other_forms_of_a_sparse_matrix(kind, flag, layout, sparse, rng):
    """Sorted and summed in a copy, whatever the flag says, which a caller may set or leave to grow stale."""
    mixed = scrambled(kind(sparse), rng)
    if flag is not None:
        mixed.has_canonical_format = flag
    before = mixed.data.copy(), mixed.indices.copy()
    rows, canonical = Rows(layout, mixed), Rows(layout, sparse)
    np.testing.assert_array_equal(rows.indices, canonical.indices)
    np.testing.assert_array_equal(rows.indptr, canonical.indptr)
    np.testing.assert_allclose(rows.values, canonical.values, rtol=1e-6)
    np.testing.assert_array_equal(mixed.data, before[0])
    np.testing.assert_array_equal(mixed.indices, before[1])


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 3)])
def test_empty_sparse_matrices(shape, layout):
    rows = Rows(layout, scipy.sparse.csr_matrix(shape, dtype=layout.dtype))
    assert rows.indptr.tolist() == [0] * (shape[0] + 1)
    assert Engine(3, layout.layers, layout.dtype).predict(rows).shape == (shape[0], 2)


def test_rows_of_another_network_are_refused(layout):
    x, y = np.ones((4, 5), layout.dtype), np.ones((4, 2), layout.dtype)
    other = layout_of(5, [Layer(2)], layout.dtype)
    engine = Engine(3, layout.layers, layout.dtype)
    session = Session(engine, Objective(), Rule(), batch_size=2)
    for rows, message in (
        (Rows(other, x, y), "rows for 5 inputs and 2 outputs .* do not fit a network with 3 inputs"),
        (Rows(layout, x[:, :3].copy()), "rows without targets can only be predicted"),
    ):
        for call in (
            lambda rows=rows: engine.loss_of(rows, Objective()),
            lambda rows=rows: engine.value_and_grad_of(rows, Objective()),
            lambda rows=rows: session.train(rows, np.arange(4), 0.1),
            lambda rows=rows: session.update(rows, 0.1),
        ):
            with pytest.raises(ValueError, match=message):
                call()
    with pytest.raises(ValueError, match="do not fit"):
        engine.predict(Rows(other, x))
    # Only inputs, outputs and dtype count: networks that differ within share their rows.
    deeper = Engine(3, [Layer(7, "relu"), Layer(2)], layout.dtype)
    assert deeper.loss_of(Rows(layout, x[:, :3].copy(), y), Objective()) > 0


@pytest.mark.parametrize("codes", [True, False])
@pytest.mark.parametrize("form", ["dense", "sparse", "map"])
def test_parts_are_the_rows_they_say(form, codes, layout, sparse, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sources, "CONVERTED_BYTES", 3 * layout.dtype.itemsize * 4
    )  # maps in blocks of four rows
    y = rng.integers(0, 2, 20) if codes else rng.normal(size=(20, 2))
    objective = CODES if codes else Objective()
    weights = rng.uniform(1, 2, 20)
    x = sparse.toarray()
    given = {"dense": x, "sparse": sparse}.get(form)
    if form == "map":
        np.save(tmp_path / "x.npy", x.astype(np.float16).astype(np.float16))
        given = np.load(tmp_path / "x.npy", mmap_mode="r")
        x = np.asarray(given, layout.dtype)
    source = sources.prepare(layout, given, y, weights, objective)
    engine = fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(2)], 3, dtype=layout.dtype).engine
    assert len(source) == 20

    def loss(part):
        return engine.loss_of(part.whole(), objective)

    def want(part, weights=weights):
        y_part = y[part] if codes else y[part].astype(layout.dtype)
        rounded = np.asarray(weights, layout.dtype)[part]
        return engine.loss(x[part], y_part, objective, sample_weight=rounded)

    assert loss(source) == want(slice(None))
    for part, index in zip(source.split(7), (slice(7), slice(7, None)), strict=True):
        assert len(part) == len(part.targets) == len(x[index])
        assert loss(part) == want(index)
        assert part.whole().mass == pytest.approx(weights[index].sum())
    assert loss(source.weighted(weights[::-1])) == pytest.approx(want(slice(None), weights[::-1]))
    assert source.weighted(None).whole().mass == 20.0
    order = rng.permutation(20)
    seen = [(rows.targets[part], len(part)) for rows, part in source.pieces(order, 2)]
    np.testing.assert_array_equal(np.concatenate([targets for targets, _ in seen]), source.targets[order])
    assert [count for _, count in seen] == ([4] * 5 if form == "map" else [20])
    assert sum(len(rows) for rows in source.blocks()) == 20


@pytest.mark.parametrize("form", ["dense", "scrambled"])
@pytest.mark.parametrize("metrics", [(), ("accuracy",)])
def test_a_fit_looks_at_its_data_once(form, metrics, rng, monkeypatch):
    """However many epochs: nothing outside can change what was checked, so it is not checked again."""
    x = rng.normal(size=(60, 3)) * (rng.random((60, 3)) < 0.6)
    if form == "scrambled":
        x = scrambled(scipy.sparse.csr_matrix(x), rng)
    y = rng.integers(0, 2, 60)
    made = []
    init = Rows.__init__

    def counted(self, *arguments, **options):
        made.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(Rows, "__init__", counted)
    counts = []
    for epochs in (1, 5):
        net = fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(2)], 3, dtype="float64", seed=1)
        load_kernels(net.engine)  # once in a process, with rows of its own
        made.clear()
        net.fit(
            x, y, loss="cross_entropy", epochs=epochs, batch_size=7, validation_data=(x, y), metrics=metrics, verbose=0
        )  # fmt: skip
        counts.append(len(made))
    assert counts == [2, 2]


def test_codes_changed_by_a_callback_are_not_trained_on(rng):
    """What is refilled while the fit runs reaches no kernel as a place in memory."""
    x, y = rng.normal(size=(40, 3)).astype("f"), rng.integers(0, 2, 40)

    class Refill(fb.Callback):
        def on_epoch_end(self, epoch, logs):
            y[:] = 10**6

    nets = [fb.Sequential([fb.Dense(2)], 3, seed=1) for _ in range(2)]
    arguments = {"loss": "cross_entropy", "epochs": 3, "verbose": 0}
    nets[0].fit(x, y.copy(), **arguments)
    nets[1].fit(x, y, callbacks=[Refill()], **arguments)
    np.testing.assert_array_equal(nets[0].weights[0], nets[1].weights[0])


def test_a_map_of_another_dtype_is_read_in_blocks(tmp_path, rng, monkeypatch):
    lengths, plain = [], sources.to_matrix

    def to_matrix(x, *arguments, **options):
        lengths.append(len(x))
        return plain(x, *arguments, **options)

    monkeypatch.setattr(sources, "to_matrix", to_matrix)
    monkeypatch.setattr(sources, "CONVERTED_BYTES", 3 * 4 * 50)
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(220, 3))
    x[:] = rng.normal(size=x.shape)
    net = fb.Sequential([fb.Dense(2)], n_inputs=3)
    net.predict(x)
    assert lengths == [50, 50, 50, 50, 20]
    del lengths[:]
    net.fit(x, np.zeros((220, 2)), batch_size=10, verbose=0)
    assert lengths == [50, 50, 50, 50, 20]


# In a process of its own: on the commit before most of these end it.
SCRIPT = """
import numpy as np, scipy.sparse, warnings, fastbp as fb
BROKEN = {
    "csr, few values": lambda x: changed(x, data=x.data[:-5]),
    "csr, few indices": lambda x: changed(x, indices=x.indices[:-5]),
    "csr, wild rows": lambda x: changed(x, indptr=np.where(np.arange(21) > 5, 2**30, x.indptr)),
    "csr, wild columns": lambda x: changed(x, indices=x.indices + 2**30),
    "csr, columns that wrap": lambda x: changed(x, indices=x.indices.astype(np.int64) + 2**32),
    "csc": lambda x: changed(x.tocsc(), indices=x.tocsc().indices + 2**30),
    "csc, negative": lambda x: changed(x.tocsc(), indices=x.tocsc().indices - 2**30),
    "csc, few values": lambda x: changed(x.tocsc(), data=x.tocsc().data[:-5]),
    "bsr": lambda x: changed(x.tobsr((2, 3)), indices=x.tobsr((2, 3)).indices + 2**30),
    "coo, rows": lambda x: changed(x.tocoo(), row=x.tocoo().row + 2**30),
    "coo, columns": lambda x: changed(x.tocoo(), col=x.tocoo().col - 2**30),
    "coo, few values": lambda x: changed(x.tocoo(), data=x.tocoo().data[:-5]),
}


def changed(x, **arrays):
    for name, array in arrays.items():
        setattr(x, name, array)
    return x


def wild(name):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    return BROKEN[name](scipy.sparse.csr_matrix(x))

warnings.simplefilter("ignore")
x, y = np.random.default_rng(0).normal(size=(20, 3)).astype("f"), np.arange(20) % 2
net = fb.Sequential([fb.Dense(2)], n_inputs=3)
clf = fb.MLPClassifier((4,), max_iter=1, random_state=0).fit(x, y)
labels = scipy.sparse.csr_matrix(np.eye(3)[np.arange(20) % 3])
entries = {
    "predict": lambda x: net.predict(x),
    "fit": lambda x: net.fit(x, np.ones((20, 2)), verbose=0),
    "validation data": lambda x: net.fit(np.ones((20, 3)), np.ones((20, 2)), validation_data=(x, np.ones((20, 2)))),
    "Trainer": lambda x: fb.Trainer(net).step(x, np.ones((20, 2))),
    "estimator's predict": lambda x: clf.predict(x),
    "estimator's fit": lambda x: fb.MLPClassifier((4,), max_iter=1).fit(x, y),
    "early stopping": lambda x: fb.MLPClassifier((4,), max_iter=1, early_stopping=True).fit(x, y),
    "validation set": lambda x: fb.MLPClassifier((4,), max_iter=1).fit(
        np.ones((20, 3), "f"), y, validation_set=(x, y)
    ),
    "labels": lambda x: fb.MLPClassifier((4,), max_iter=1).fit(np.ones((20, 3)), x),
}
for broken in BROKEN:
    for name, entry in entries.items():
        try:
            entry(wild(broken))
        except ValueError as error:
            assert "is not a valid" in str(error) or "indices outside" in str(error), (broken, name, error)
        else:
            raise AssertionError((broken, name))
"""


def test_no_sparse_matrix_reaches_compiled_code_unchecked():
    """SciPy's own code trusts the indices as ours does: a conversion writes, a slice reads, anywhere."""
    run_script(SCRIPT)


def run_script(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("what", ["order", "codes", "indices", "indptr"])
def test_a_buffer_that_another_thread_refills(what):
    """What is an address to a kernel is copied, then checked: for a second, values from outside come in between."""
    run_script(f"""
import threading, time
import numpy as np, scipy.sparse
from fastbp.engine.engine import Engine
from fastbp.engine.session import Session
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
n, rng = 3000, np.random.default_rng(0)
engine = Engine(6, [Layer(4, "tanh"), Layer(3)], "float32")
x = rng.normal(size=(n, 6)).astype("f")
matrix = scipy.sparse.csr_matrix(x)
order, codes = rng.permutation(n).astype(np.int64), rng.integers(0, 3, n)
session = Session(engine, Objective("cross_entropy"), Rule(), batch_size=100)
buffer = dict(order=order, codes=codes, indices=matrix.indices, indptr=matrix.indptr)[{what!r}]
good, bad, going = buffer.copy(), np.iinfo(buffer.dtype).max // 4, True
def refill():
    while going:
        buffer[1:] = bad
        buffer[:] = good
thread = threading.Thread(target=refill)
thread.start()
end, done = time.monotonic() + 1.0, 0
try:
    while time.monotonic() < end:
        try:
            session.run(matrix if {what!r}.startswith("ind") else x, codes, order, 0.0)
        except (ValueError, IndexError):
            pass
        done += 1
finally:
    going = False
    thread.join()
assert done
""")
