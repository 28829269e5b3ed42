"""The slow proofs: processes that are killed, a server that stalls, restarts or forgets, handlers that hang.

`python -m tests.chaos` plays them all against a redis-server of its own; `nox -s chaos` against the wheel.
"""
