"""What was ordered there."""

from django.conf import settings  # type: ignore[import-untyped]
from django.db import models  # type: ignore[import-untyped]
from django.utils import timezone  # type: ignore[import-untyped]


class Order(models.Model):  # type: ignore[misc]
    created = models.DateTimeField(default=timezone.now)
    modified = models.DateTimeField(default=timezone.now)
    code = models.CharField(max_length=32)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)


class OrderItem(models.Model):  # type: ignore[misc]
    product = models.ForeignKey("products.Product", on_delete=models.CASCADE)
    order = models.ForeignKey(Order, related_name="items", on_delete=models.CASCADE)
    quantity = models.IntegerField()
