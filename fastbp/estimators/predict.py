"""What the estimators' predictions share: checks of X, the engine that holds the present weights, blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from fastbp.arrays import all_finite, check_sparse, to_matrix
from fastbp.estimators.checks import checked_numbers
from fastbp.estimators.parameters import Array, DType, Parameters
from fastbp.validation import check_threads

if TYPE_CHECKING:  # an estimator is made, and its parameters are checked, without the kernels
    from fastbp.engine.engine import Engine
    from fastbp.engine.layout import Layout

# Rows whose raw outputs exist at one time while predicting.
ROWS_AT_ONCE = 16384
FEW_ROWS = 256
# Weights of a network that is copied in a few microseconds.
LARGE = 1 << 15
# Arrays of up to this many numbers are checked here, since scikit-learn's checks take about 100 us.
SMALL = 65536
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

# One engine per network and dtype, made by the first predict. The estimators do not hold them, so that they stay plain
# data to pickle, clone and compare.
_engines: WeakKeyDictionary[PredictMixin, dict[object, Engine]] = WeakKeyDictionary()


class PredictMixin(Parameters):
    """Adds what predict needs, and `hidden_activations`."""

    n_features_in_: int
    out_activation_: str

    def _validate_predict(self, X: Any) -> Any:
        """Return X checked: an array, or a CSR or CSC matrix, of its own dtype, as in scikit-learn."""
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)
        if self._is_plain(X) and X.shape[1] == self.n_features_in_:
            return X
        if scipy.sparse.issparse(X) and X.format != "csr":
            X = check_sparse(X)  # before anything converts it; rows of CSR are checked block by block
        X = validate_data(self, checked_numbers(X, "X"), accept_sparse=["csr", "csc"], reset=False)
        # scikit-learn does not look into the objects of some frames, and fails when it multiplies them.
        return to_matrix(X, np.dtype(np.float64), "X") if X.dtype.kind == "O" else X

    def _is_plain(self, X: Any) -> bool:
        """Whether scikit-learn would return X as it is, 100 us later; the number of columns is not looked at."""
        values = X.data if scipy.sparse.issparse(X) and X.format == "csr" else X
        return (
            type(values) is np.ndarray
            and X.ndim == 2
            and min(X.shape) > 0
            and values.size <= SMALL
            and values.dtype in FLOATS
            and not hasattr(self, "feature_names_in_")
            and all_finite(values)
        )

    def _layout(self, dtype: DType) -> Layout:
        """Return the layout of an engine that would hold the present coefs_ and intercepts_."""
        from fastbp.engine.layout import layout_of

        layers = self._layers([coef.shape[1] for coef in self.coefs_])
        return layout_of(self.coefs_[0].shape[0], layers, dtype)

    def _engine(self, dtype: DType) -> Engine:
        """Return an engine that holds the present coefs_ and intercepts_."""
        shapes = tuple([coef.shape for coef in self.coefs_])
        activation = self.activation if isinstance(self.activation, str) else tuple(self.activation)
        key = (shapes, activation, self.out_activation_, dtype)
        engines = _engines.get(self)
        if engines is None:
            engines = _engines[self] = {}
        engine = engines.get(key)
        if engine is None:
            from fastbp.engine.engine import Engine

            if len(engines) > 3:  # float32 and float64 of one network, and some to spare
                engines.clear()
            layers = self._layers([shape[1] for shape in shapes])
            engine = engines[key] = Engine(shapes[0][0], layers, dtype)
        engine.set_parameters(self.coefs_, self.intercepts_)
        return engine

    def _raw_blocks(self, X: Any) -> Iterator[tuple[slice, Array]]:
        """Yield the raw outputs block by block, so that no more than a block of anything is in memory."""
        # So few rows are one thread's work; to count the cores would take longer.
        n_threads = check_threads(self.n_threads)
        if X.shape[0] <= FEW_ROWS:
            n_threads = 1
        if scipy.sparse.issparse(X):
            X = X.tocsr()  # rows of other formats cannot be cut out
            if len(X.indptr) != X.shape[0] + 1:
                raise ValueError("X is not a valid CSR matrix: indptr does not fit its shape")
        few = self._raw_of_few(X) if X.shape[0] <= FEW_ROWS else None
        if few is not None:
            yield slice(0, X.shape[0]), few
            return
        engine = self._engine(self._predict_dtype(X))
        for rows in _blocks(X.shape[0]):
            x = X if X.shape[0] <= ROWS_AT_ONCE else _cut(X, rows)
            yield rows, engine.predict(as_rows(x, engine.dtype), n_threads=n_threads)

    def _raw_of_few(self, X: Any) -> Array | None:
        """Return the raw outputs, or None if an engine with a copy of the weights has them sooner."""
        if sum(coef.size for coef in self.coefs_) < LARGE:
            return None
        from fastbp.engine import plain
        from fastbp.engine.rows import Rows

        layout = self._layout(self._predict_dtype(X))
        if not plain.fits(layout, self.coefs_, self.intercepts_):
            return None
        rows = Rows(layout, as_rows(X, layout.dtype))
        return (
            plain.predict(layout, self.coefs_, self.intercepts_, rows) if plain.pays(layout, rows) else None
        )

    def _predict_dtype(self, X: Any) -> DType:
        if self.dtype is not None:
            return np.dtype(self.dtype)
        dtype = np.result_type(X.dtype, self.coefs_[0].dtype)
        return dtype if dtype.char in "fd" else np.dtype(np.float64)

    def hidden_activations(self, X: Any) -> list[Array]:
        """Return what the hidden layers answer to X.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows, as for predict.

        Returns
        -------
        list of ndarray
            One per hidden layer, shape (n, units of the layer), in the dtype of predictions.

        Raises
        ------
        NotFittedError
            Before fit.

        Examples
        --------
        >>> from fastbp import MLPClassifier
        >>> clf = MLPClassifier((4, 2), solver="lbfgs", random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> [layer.shape for layer in clf.hidden_activations([[0.5]])]
        [(1, 4), (1, 2)]
        """
        X = self._validate_predict(X)
        engine = self._engine(self._predict_dtype(X))
        return engine.hidden(as_rows(X, engine.dtype))[:-1]


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, n, ROWS_AT_ONCE))


def _cut(X: Any, rows: slice) -> Any:
    """Return some rows of an array or a CSR matrix, without a copy. SciPy's own slices trust indptr as it is."""
    if not scipy.sparse.issparse(X):
        return X[rows]
    indptr = np.array(X.indptr[rows.start : rows.stop + 1])
    begin, end = int(indptr[0]), int(indptr[-1])
    if not 0 <= begin <= end <= min(len(X.indices), len(X.data)):
        raise ValueError("X is not a valid CSR matrix: indptr does not fit indices")
    return type(X)(
        (X.data[begin:end], X.indices[begin:end], indptr - begin), shape=(len(indptr) - 1, X.shape[1])
    )


def as_rows(X: Any, dtype: DType) -> Any:
    """Return X as the engine takes it: C-contiguous or CSR, in its dtype; X itself if it is that already."""
    if scipy.sparse.issparse(X):
        return X.tocsr().astype(dtype, copy=False)
    return np.ascontiguousarray(X, dtype=dtype)
