"""What the library's tests stand on: servers, a proxy, builders, the oracle and the model of v0."""
