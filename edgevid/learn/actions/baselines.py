"""Kernel machines over the pooled features of a window: baselines of every head, and recognizers of their own."""

import numpy as np

from edgevid.errors import require
from edgevid.types import Array

PENALTY = 10.0  # C of the support vector machines: what a training clip on the wrong side costs


def support_vectors(kernel: Array, targets: Array) -> tuple[Array, Array]:
    """Weights (N, C) and bias (C,) of one machine for each class against the others, from their kernel (N, N) and
    targets (N, C) of 0 and 1; a class without a clip is never the answer."""
    svm = require("sklearn.svm", extra="train", purpose="the baseline svm")
    weights, bias = np.zeros(targets.shape), np.full(targets.shape[1], -1.0)
    for label in np.flatnonzero(targets.any(0) & ~targets.all(0)):
        machine = svm.SVC(kernel="precomputed", C=PENALTY).fit(kernel, targets[:, label])
        weights[machine.support_, label], bias[label] = machine.dual_coef_[0], machine.intercept_[0]
    return weights, bias


SOLVERS = {"svm": support_vectors, "ridge": None}  # By kind what solves for the weights, as `Typicality.fit` takes it
