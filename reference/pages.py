"""What is made from the code, by its path below docs/."""

from collections.abc import Callable
from pathlib import Path

from reference import commands, decisions, drawings, errors, metrics, routes, settings, ways

DOCS = Path(__file__).parent.parent / "docs"

PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings.page,
    "reference/commands.md": commands.page,
    "reference/errors.md": errors.page,
    "reference/routes.md": routes.page,
    "reference/metrics.md": metrics.page,
    "decisions/index.md": decisions.page,
    "explanation/a-request.md": ways.page,
    "images/packages.svg": drawings.packages,
    "images/domain.svg": drawings.domain,
    "images/http.svg": drawings.http,
    "images/statuses.svg": drawings.statuses,
}
