"""The library beside its floor: ratios from one interleaved run. `python -m benchmarks` prints them."""
