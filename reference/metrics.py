"""The page of the metrics: what is registered, with its labels."""

from prometheus_client.metrics import MetricWrapperBase

from reference.markdown import MADE, code, table
from shop.entrypoints.metrics import Metrics


def page() -> str:
    collectors = Metrics()._registry._collector_to_names
    rows = [
        (
            code(_name(each)),
            str(each._type),
            ", ".join(map(code, each._labelnames)),
            each._documentation,
        )
        for each in collectors
        if isinstance(each, MetricWrapperBase)
    ]
    assert len(rows) == len(collectors), "a metric that is none of the library's own"
    return (
        f"{MADE}# Metrics\n\n"
        "`/metrics` has these, in Prometheus' text format, of all workers of a server. A histogram "
        "`x` is three series: `x_bucket`, `x_count` and `x_sum`. Times are in seconds.\n\n"
        f"{table(('name', 'kind', 'labels', 'what'), sorted(rows))}"
    )


def _name(metric: MetricWrapperBase) -> str:
    """As it is exported: the library takes the end of a counter's name off, and puts it back."""
    return f"{metric._name}_total" if metric._type == "counter" else metric._name
