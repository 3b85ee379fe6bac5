"""Sinkwell's batching core: the standard library only, and no provider's name."""
