"""What the documents are tested against."""

from tests.e2e.conftest import embedded_demo, start

__all__ = ["embedded_demo", "start"]
