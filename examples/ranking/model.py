"""The model: how likely a user is to want a product, a small neural network written as ONNX.

    python -m examples.ranking.model .cache/ranking.onnx

Trained on made-up purchases: what counts here is its shape, thirty features and two hidden layers.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from examples.ranking.catalogue import PRODUCT_FEATURES, USER_FEATURES


def build() -> bytes:
    """Train it, and write it as ONNX; the same bytes every time."""
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(2_000, USER_FEATURES + PRODUCT_FEATURES)).astype(np.float32)
    taste = np.tanh(rows[:, :USER_FEATURES] * rows[:, -USER_FEATURES:]).sum(axis=1)
    network = MLPRegressor(hidden_layer_sizes=(64, 32), max_iter=20, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # good enough after twenty rounds
        network.fit(rows, taste)
    return to_onnx(network, rows[:1]).SerializeToString()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(build())
