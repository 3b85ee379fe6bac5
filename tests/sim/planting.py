def plant_all(*, jobs, only): return 0
