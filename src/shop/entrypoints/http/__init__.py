"""HTTP: Litestar controllers over the use cases; what clients rely on is in docs/api.md."""
