"""
Batch, mini-batch and stochastic descent
========================================

Batch descent looks at all rows before each step: ``batch_size=None``. Stochastic descent steps after every
single row: ``batch_size=1``. Mini-batches of some dozens are between the two, and are what one uses.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fastbp as fb

# %%
# 569 tumors, 30 measurements each: benign or malignant?

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
scaler = StandardScaler().fit(X_train)
train = scaler.transform(X_train).astype("float32"), y_train
test = scaler.transform(X_test).astype("float32"), y_test

# %%
# The same network, the same learning rate, the same twenty passes over the data, called epochs; only the
# batch differs. Smaller batches make more steps per epoch, and noisier ones.

runs = {}
for name, batch_size in {"batch (all 398)": None, "mini-batch (32)": 32, "stochastic (1)": 1}.items():
    net = fb.Sequential([fb.Dense(16, "tanh"), fb.Dense(1)], n_inputs=30, seed=0)
    runs[name] = net.fit(
        *train,
        loss="binary_cross_entropy",
        optimizer=fb.SGD(0.05),
        epochs=20,
        batch_size=batch_size,
        validation_data=test,
        verbose=0,
    )
    steps = int(np.ceil(len(train[0]) / (batch_size or len(train[0]))))
    accuracy = np.mean((net.predict(test[0])[:, 0] > 0) == test[1])
    print(f"{name:16} {steps:3} steps per epoch, {accuracy:.1%} of the held-out tumors right")

# %%
# Batch descent is steady and slow, one step an epoch. Stochastic descent learns the training rows fastest,
# and its validation loss shows what that is worth.

figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
fb.plot.loss_curve(*runs.values(), labels=list(runs), ax=ax)
ax.set_title("same learning rate, different batches")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
