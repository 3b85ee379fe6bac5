"""A model behind a service: each request asks for one prediction, the model is called with lists.

Run it: `python -m examples.predict`.
Three hundred requests, first one at a time as such a service does without batches, then through `@batched`.
"""

import asyncio
import time

from sinkwell.core import batched


def model(images: list[str]) -> list[str]:
    """Stand in for a model: 11 ms for one image, 13 ms for two hundred. It can't be called twice at once."""
    time.sleep(0.011 + 0.000_01 * (len(images) - 1))
    return [f"{image} is a cat" for image in images]


@batched(max_records=200)
def predict(images: list[str]) -> list[str | Exception]:
    """Label each image; a bad one fails alone."""
    labels = iter(model([image for image in images if image]))
    return [next(labels) if image else ValueError("an empty image") for image in images]


async def handle_request(image: str) -> str:
    """Handle one request, as a web framework would call it; it knows nothing of lists."""
    try:
        return await predict(image)
    except ValueError as error:
        return f"400: {error}"


async def main() -> None:
    """Serve three hundred requests in both ways."""
    images = [f"image {number}" for number in range(299)]
    began = time.perf_counter()
    one_at_a_time = [(await asyncio.to_thread(model, [image]))[0] for image in images]
    unbatched = time.perf_counter() - began

    async with predict:  # closes it at the end; a service that runs for ever may leave it out
        began = time.perf_counter()
        answers = await asyncio.gather(*map(handle_request, [*images, ""]))
        together = time.perf_counter() - began
        stats = predict.stats()

    assert answers == [*one_at_a_time, "400: an empty image"]
    print(f"{len(answers)} requests, {stats.requests} calls of the model")
    print(f"one at a time {unbatched:.2f} s, in batches {together:.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
