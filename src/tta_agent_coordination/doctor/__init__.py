"""The doctor: finds what v0's processes leave behind in Redis, and mends it while they run."""
