"""Programs as users write them, for the type checkers alone: they are read, and never run."""
