"""The load test: users who each ask for one prediction a second, and give up after one second.

    locust -f examples/async_batcher/load_test.py --headless --host http://127.0.0.1:8000 -u 500 -r 250 -t 30s

ENDPOINT=/predict chooses what is asked; without, it is /optimized_predict.
"""

import os
import random
from time import perf_counter

import gevent
from locust import FastHttpUser, task

ENDPOINT = os.environ.get("ENDPOINT", "/optimized_predict")


class Caller(FastHttpUser):
    """One user; as many users as requests a second.

    Each asks once in every second, at a moment by chance, as users do who know nothing of each other. Locust's
    `constant_throughput(1)` would keep those together who came together: it starts its users in bunches, once a second.
    """

    connection_timeout = 1.0
    network_timeout = 1.0
    max_retries = 0

    def on_start(self) -> None:
        """Come at a moment by chance, too."""
        self.second = perf_counter()
        gevent.sleep(random.random())

    def wait_time(self) -> float:
        """Seconds until a moment of this user's next second; none if the answer came later than that."""
        self.second += 1.0
        return max(0.0, self.second + random.random() - perf_counter())

    @task
    def ask(self) -> None:
        """Ask, and check the answer."""
        row = [random.random() for _ in range(10)]
        with self.client.post(ENDPOINT, json=row, catch_response=True) as response:
            if response.status_code != 200 or abs(response.json() - sum(row)) > 1e-9:
                response.failure(f"{response.status_code}: {response.text}")
