"""A program that uses the public API passes ``mypy --strict``, and its mistakes are found."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("mypy")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import numpy as np

import fastbp as fb

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype(np.float32)
y = x.sum(axis=1)

net = fb.Sequential(
    [fb.Dense(8, "relu", l2=1e-4), fb.Dropout(0.1), fb.Dense(1, use_bias=False, initializer="he_normal")],
    n_inputs=3,
    dtype="float32",
    seed=0,
)


class Report:
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        return logs["loss"] < 0.1


history: fb.History = net.fit(
    x,
    y,
    loss="huber(2.0)",
    optimizer=fb.AdamW(fb.CosineDecay(1e-3, warmup=5), weight_decay=0.1),
    epochs=2,
    batch_size=None,
    validation_data=(x, y),
    callbacks=[fb.EarlyStopping(patience=5), fb.ReduceLROnPlateau(), fb.Checkpoint("a.safetensors"), Report()],
    metrics=["r2", lambda truth, answer: float(abs(truth - answer).max())],
    sample_weight=np.ones(64),
    verbose=0,
)
losses: list[float] = history.loss + history.val_loss + history["r2"]
outputs: np.ndarray = net.predict(x)
loss, grads = net.value_and_grad(x, y, loss="mse", inputs=True)
total: float = loss + sum(float(np.abs(g).sum()) for g in grads.weights)
for b in net.biases:
    if b is not None:
        b[...] = 0.0
net.set_weights([W.copy() for W in net.weights], net.biases)
trainer = fb.Trainer(net, loss="mse", optimizer=fb.SGD(0.1, momentum=0.9))
value: float = trainer.step(x, y)
explanation = fb.explain(net, x[:2], y[:2], sign="downhill")
after: float = explanation.loss_after + float(explanation.delta[0].sum())
out: np.ndarray = trainer.forward(x)
trainer.step_from(x, 2 * (out - y[:, None]) / len(x))
value, flat = trainer.gradient(x, y)
trainer.apply(flat)
felt = net.pullback(x, out).inputs
own = fb.Loss(lambda y, out: ((out - y) ** 2).sum(1), lambda y, out: 2 * (out - y), name="own")
rule = fb.Rule(lambda theta, grad, state, step, rate: theta - rate * grad, slots=["m"], learning_rate=0.1)
net.fit(x, y, loss=own, optimizer=rule, verbose=0)
worst: float = fb.check_grad(own, y[:, None], out)
net.save("m.safetensors")
twin: fb.Sequential = net.copy()
count: int = twin.n_parameters
histories: list[fb.History] = fb.fit_many([net, twin], x, y, learning_rate=[0.1, 0.2], rows=[None, [0, 1]])
stack: fb.Stack = fb.fit_many(net, x, y, n=10, epochs=2)
member: fb.Sequential = stack[3]
votes: np.ndarray = fb.predict_many([net, twin], x, combine="mean")
"""

MISTAKES = [
    'fb.Dense("64")',
    "fb.Dense(1, True, True)",
    "fb.Sequential([fb.Dense(1)], n_inputs=2.5)",
    'fb.SGD("fast")',
    "fb.Sequential([fb.Dense(1)], n_inputs=2).fit(1, 2, epoch=3)",
    "fb.Sequential([fb.Dense(1)], n_inputs=2).n_parameter",
]


def check(path):
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(path.parent / "cache"),
        str(path),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_a_program_passes(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.replace("np.ndarray", "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"))
    done = check(path)
    errors = [line for line in done.stdout.splitlines() if line.startswith(str(path))]
    assert errors == [], done.stdout + done.stderr


def test_mistakes_are_found(tmp_path):
    path = tmp_path / "mistakes.py"
    path.write_text(textwrap.dedent("import fastbp as fb\n") + "\n".join(MISTAKES) + "\n")
    found = {
        int(line.split(":")[1]) for line in check(path).stdout.splitlines() if line.startswith(str(path))
    }
    assert found == set(range(2, 2 + len(MISTAKES)))
