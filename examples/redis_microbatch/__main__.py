"""Run it: `python -m examples.redis_microbatch`: Redis, an API worker, two model workers, and some images."""

from examples.redis_microbatch.load import show

if __name__ == "__main__":
    show()
