"""The `sinkwell` command."""
