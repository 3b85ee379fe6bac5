"""Run it: `python -m examples.redis_microbatch`: Redis, one API worker and two model workers, and 1, 10 and 50 images."""

from examples.redis_microbatch.load import show

if __name__ == "__main__":
    show()
