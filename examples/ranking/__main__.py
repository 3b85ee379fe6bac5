"""Opens the shop, lets three hundred customers come every second, and says how long they waited, before and after."""

from statistics import median

from examples.async_batcher.load import Service
from examples.ranking.customers import at_once, rush
from examples.ranking.shop import open_shop
from tests.servers import RedisServer


def compare(served: Service, rate: int, seconds: float) -> None:
    """Put the question's code and the batched one under the same load."""
    for endpoint in ("/question", "/rank"):
        alone, ten = (median(at_once(served, endpoint, count)) for count in (1, 10))
        seen = rush(served, endpoint, rate, seconds)
        print(
            f"{endpoint}: alone {alone:.0f} ms, ten at once {ten:.0f} ms; of {rate} a second {seen.rate:.0f} answered, "
            f"{seen.failed} failed, 95% within {seen.percentile(95):.0f} ms, {seen.cpu_ms:.2f} ms of processor each"
        )


if __name__ == "__main__":
    with RedisServer.start() as server, open_shop(server) as shop:
        compare(shop, 300, 10)
