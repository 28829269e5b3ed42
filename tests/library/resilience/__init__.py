"""Circuit breakers, retries and their numbers."""
