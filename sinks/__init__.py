"""Sinks for real providers, one module each; each needs its own extra, importing this package needs none."""
