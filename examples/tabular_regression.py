"""
Tabular regression from table to ONNX file
==========================================

Everything around a regression that somebody will use: held-out rows, a learning-rate schedule, early stopping, a
checkpoint from which the training goes on after a power cut, and an ONNX file for the program that will ask for
predictions.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

import fastbp as fb

folder = Path(tempfile.mkdtemp())

# %%
# The table
# ---------
# Friedman's first problem: ten columns of which five matter,
# :math:`y = 10 \sin(\pi x_1 x_2) + 20 (x_3 - 1/2)^2 + 10 x_4 + 5 x_5`, and noise of variance 1. No model can have a
# mean squared error below 1, so it is known how good one is.

X, y = make_friedman1(6000, n_features=10, noise=1.0, random_state=0)
X, X_test, y, y_test = train_test_split(
    X.astype("float32"), y.astype("float32"), test_size=1000, random_state=0
)
X, X_val, y, y_val = train_test_split(X, y, test_size=1000, random_state=0)

# %%
# Scaling is learned on the training rows only. Targets of mean 0 and variance 1 let the default learning rate fit.

mean, spread = X.mean(axis=0), X.std(axis=0)
X, X_val, X_test = ((part - mean) / spread for part in (X, X_val, X_test))
center, scale = y.mean(), y.std()

# %%
# Training
# --------
# Early stopping watches the validation rows and gives back the best weights. The schedule warms up, then follows half a
# cosine; left without a length, it takes that of the run.


def network():
    return fb.Sequential(
        [
            fb.Dense(64, "relu", initializer="he_normal", l2=1e-5),
            fb.Dense(64, "relu", initializer="he_normal"),
            fb.Dense(1),
        ],
        n_inputs=10,
        seed=0,
    )


def train(net, *callbacks, **arguments):
    return net.fit(
        X,
        (y - center) / scale,
        optimizer=fb.Adam(fb.CosineDecay(3e-3, warmup=0.05)),
        epochs=60,
        batch_size=64,
        validation_data=(X_val, (y_val - center) / scale),
        metrics="r2",
        callbacks=[fb.EarlyStopping(patience=15), *callbacks],
        verbose=0,
        **arguments,
    )


net = network()
history = train(net)
best = int(np.argmin(history.val_loss))
seconds = sum(history.epoch_seconds)
print(
    f"{len(history)} epochs in {seconds:.2f} s, the best was number {best + 1}: R2 {history.val_r2[best]:.4f}"
)

# %%
# Rows that no decision was based on say how good the model is.


def test_error(predictions):
    return np.mean((predictions - y_test) ** 2)


ours = net.predict(X_test)[:, 0] * scale + center
line = LinearRegression().fit(X, y)
print(f"mean squared error on {len(y_test)} new rows: {test_error(ours):.3f}")
print(f"linear regression: {test_error(line.predict(X_test)):.3f}; the noise alone: 1.000")

# %%
# A power cut
# -----------
# ``Checkpoint`` writes a file after every epoch, replacing the old one in one step. Here the training ends after a
# tenth of a second, in the middle of an epoch. Another process may go on from the file; its weights are those of the
# training that was not interrupted, bit by bit.

file = folder / "training.safetensors"
train(network(), fb.Checkpoint(file), fb.TimeLimit(0.1))
resumed = network()
train(resumed, fb.Checkpoint(file), resume_from=file)
same = all(np.array_equal(a, b) for a, b in zip(net.weights, resumed.weights, strict=True))
print("after the interruption: the same weights" if same else "after the interruption: OTHER weights")

# %%
# Files
# -----
# One for fastbp itself, with notes of what a user must know, and one for everybody else.

net.metadata["scaling"] = f"y = {scale:.6f} * output + {center:.6f}"
net.save(folder / "model.safetensors")
again = fb.load(folder / "model.safetensors")
equal = np.array_equal(again.predict(X_test), net.predict(X_test))
print("read back:", again.metadata["scaling"], "- equal predictions:", equal)

try:
    import onnxruntime

    fb.formats.to_onnx(net, folder / "model.onnx")
except ImportError as missing:
    print(f"no ONNX file: {missing}")
else:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: X_test})
    print(f"onnxruntime differs by at most {np.abs(theirs - net.predict(X_test)).max():.1e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
axes[0].semilogy(history.loss, label="training")
axes[0].semilogy(history.val_loss, label="validation")
axes[0].axvline(best, color="gray", linestyle=":", label="best")
axes[0].set(xlabel="epoch", ylabel="loss")
axes[0].legend()
axes[1].scatter(y_test, ours, s=4)
axes[1].axline((y_test.mean(), y_test.mean()), slope=1, color="gray", linestyle=":")
axes[1].set(xlabel="y of new rows", ylabel="prediction")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
