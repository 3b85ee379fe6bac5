"""A scikit-learn model: each request asks for one prediction, the model is called with a matrix.

Run it: it learns to tell irises apart, then serves three hundred requests, one of which is malformed.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sinkwell.core import batched


class Irises:
    """A model that was loaded once; each instance batches its own calls."""

    def __init__(self) -> None:
        self.features, species = load_iris(return_X_y=True)
        self.names = load_iris().target_names
        self.model = LogisticRegression(max_iter=1_000).fit(self.features, species)

    @batched(max_records=200, executor=ThreadPoolExecutor(2), concurrency=2)
    def species_of(self, flowers: list[list[float]]) -> list[str | Exception]:
        """Name a flower from its four measures; a flower that lacks some fails alone."""
        whole = [flower for flower in flowers if len(flower) == 4]
        species = iter(self.names[self.model.predict(np.array(whole))] if whole else [])
        return [
            str(next(species)) if len(flower) == 4 else ValueError(f"{len(flower)} measures, not 4")
            for flower in flowers
        ]


async def main() -> None:
    """Serve three hundred requests, and compare with the model itself."""
    irises = Irises()
    flowers = [*irises.features.tolist(), *irises.features.tolist(), [1.0, 2.0]]
    answers = await asyncio.gather(*map(irises.species_of, flowers), return_exceptions=True)

    assert answers[:150] == answers[150:300] == list(irises.names[irises.model.predict(irises.features)])
    assert isinstance(answers[300], ValueError)
    print(f"{len(answers)} requests, {irises.species_of.stats().requests} calls of the model, 1 failed alone")


if __name__ == "__main__":
    asyncio.run(main())
