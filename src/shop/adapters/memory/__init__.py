"""The in-memory store: the twin of `sql`, for tests and `memory://`; it ends with the process."""
