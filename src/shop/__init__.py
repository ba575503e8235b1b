"""Shop: an order-taking backend that never sells what is not there."""

from importlib.metadata import version

__version__ = version("shop")
