"""What the old shop sells."""

from django.db import models  # type: ignore[import-untyped]
from django.utils import timezone  # type: ignore[import-untyped]


class Product(models.Model):  # type: ignore[misc]
    created = models.DateTimeField(default=timezone.now)
    modified = models.DateTimeField(default=timezone.now)
    name = models.CharField(max_length=255)
    price = models.DecimalField(max_digits=5, decimal_places=2)
    stock = models.IntegerField(default=0)
