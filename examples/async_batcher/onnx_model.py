"""An ONNX model: each request asks for one prediction, the runtime is called with a matrix, in its own threads.

Run it: a scikit-learn model is written as ONNX, loaded by ONNX Runtime, and asked three hundred times.
"""

import asyncio

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor

from sinkwell.core import batched


class Progression:
    """Tells how a disease goes on, from ten measures."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # batches make use of the cores, not the parts of one
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    @batched(max_records=200, concurrency=2)  # without `executor` in threads of its own, as many as `concurrency`
    def score(self, patients: list[list[float]]) -> list[float]:
        """Score one patient; the runtime lets other threads run meanwhile."""
        (scores,) = self.session.run(None, {self.input: np.array(patients, dtype=np.float32)})
        return [float(score) for score in scores[:, 0]]


async def main() -> None:
    """Serve three hundred requests, and compare with the model that it was made of."""
    features, target = load_diabetes(return_X_y=True)
    features = features.astype(np.float32)
    forest = RandomForestRegressor(50, max_depth=6, random_state=1).fit(features, target)
    progression = Progression(to_onnx(forest, features[:1]).SerializeToString())

    scores = await asyncio.gather(*map(progression.score, features[:300].tolist()))

    assert np.allclose(scores, forest.predict(features[:300]), rtol=1e-3)
    print(f"{len(scores)} requests, {progression.score.stats().requests} calls of the model")


if __name__ == "__main__":
    asyncio.run(main())
