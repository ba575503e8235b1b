"""A page that shows the OpenAPI document and tries it out, without the internet."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.openapi import document
from shop.entrypoints.settings import Settings

_PAGE = Path(__file__).parent / "docs_page"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# Swagger UI needs inline styles and icons in data URLs; nothing else is allowed.
_POLICY = {
    "policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
}
_WELCOME_POLICY = {
    "policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
}
_CACHED = {"Cache-Control": "public, max-age=86400"}


@get("/openapi.json", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def openapi_json(
    request: Request[Any, Any, Any], settings: NamedDependency[Settings]
) -> Response[bytes]:
    return Response(document(request.app, settings.currency), media_type="application/json")


# What this is, and where to go from here.
_WELCOME = {
    "name": "Shop",
    "about": "Takes orders and deducts stock, and never sells what is not there.",
    "docs": "/docs/",
    "openapi": "/openapi.json",
    "health": "/api/health/",
}


@get("/", opt=PUBLIC | _WELCOME_POLICY, include_in_schema=False, sync_to_thread=False)
def welcome(request: Request[Any, Any, Any]) -> Response[Any]:
    """JSON, or for those who ask for it a page."""
    headers = {"Vary": "Accept"}
    if "text/html" in request.headers.get("accept", "").lower():
        page = _file(_PAGE / "welcome.html")
        return Response(page, media_type="text/html", headers=headers)
    return Response(_WELCOME, media_type="application/json", headers=headers)


@get("/docs", opt=PUBLIC | _POLICY, include_in_schema=False, sync_to_thread=False)
def docs_page() -> Response[bytes]:
    return Response(_file(_PAGE / "index.html"), media_type="text/html")


@get("/docs/page.js", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def docs_script() -> Response[bytes]:
    return Response(_file(_PAGE / "page.js"), media_type="text/javascript")


@get("/docs/page.css", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def docs_style() -> Response[bytes]:
    return Response(_file(_PAGE / "page.css"), media_type="text/css")


@get("/docs/assets/{name:str}", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def docs_asset(name: FromPath[str]) -> Response[bytes]:
    if name not in _ASSETS:
        raise NotFoundException
    return Response(_file(_swagger_ui() / name), media_type=_ASSETS[name], headers=_CACHED)


@lru_cache(maxsize=8)
def _file(path: Path) -> bytes:
    """Read once, and the same bytes for whoever asks: some are large, and many may ask at once."""
    return path.read_bytes()


@lru_cache(maxsize=1)
def _swagger_ui() -> Path:
    """The folder of the package's files; nothing else of the package is used."""
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "static"
