"""PostgreSQL's index for searching: made where it can be had, beside a running shop.

It needs an extension that not every server has and not every role may create, and a locale in which
letters beyond ASCII are letters. So it is made by `shop migrate` after the migrations, each time
that it is not there; without it searches walk through the catalogue, within bounds.
"""

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.errors import driver_error

_IS_VALID = text(
    "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('products_search')"
)
# Somebody else may be building it, who then has a row here.
_IS_BEING_BUILT = text(
    "SELECT true FROM pg_stat_progress_create_index "
    "WHERE index_relid = to_regclass('products_search')"
)
_IS_AVAILABLE = text("SELECT true FROM pg_available_extensions WHERE name = 'pg_trgm'")
_MAY_CREATE = text("SELECT has_database_privilege(current_database(), 'CREATE')")
_HAS_EXTENSION = text("SELECT true FROM pg_extension WHERE extname = 'pg_trgm'")
_HAS_LETTERS = text("SELECT cardinality(show_trgm('\u00e4\u0436\u8336')) > 0")
_CREATE = text(
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS products_search "
    "ON products USING gin (search_text gin_trgm_ops)"
)
_DROP = text("DROP INDEX CONCURRENTLY IF EXISTS products_search")

NO_EXTENSION = "PostgreSQL's extension pg_trgm is not installed on the server"
NO_RIGHT = "this user may not create PostgreSQL's extension pg_trgm in the database"
NO_LETTERS = "in the locale of the database (LC_CTYPE) letters beyond ASCII are no letters"
NOT_BUILT = "it has not been built: run `shop migrate`"

# Two who create the same thing at once: one of them gets to know of the other in this way.
_SOMEBODY_WAS_FASTER = (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError)


async def missing_because(connection: AsyncConnection) -> str | None:
    """Why there is no index to search by; None if there is one. SQLite always has one."""
    if connection.dialect.name == "sqlite" or await connection.scalar(_IS_VALID):
        return None
    if not await connection.scalar(_HAS_EXTENSION):
        if not await connection.scalar(_IS_AVAILABLE):
            return NO_EXTENSION
        return NOT_BUILT if await connection.scalar(_MAY_CREATE) else NO_RIGHT
    return NOT_BUILT if await connection.scalar(_HAS_LETTERS) else NO_LETTERS


async def build(connection: AsyncConnection) -> str | None:
    """Build the index if it is not there, on a connection in autocommit mode; else say why not."""
    reason = await missing_because(connection)
    if reason != NOT_BUILT:
        return reason
    if not await connection.scalar(_HAS_EXTENSION):
        try:
            await connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
        except DBAPIError as error:
            cause = driver_error(error)
            if isinstance(cause, asyncpg.InsufficientPrivilegeError):
                return NO_RIGHT
            if not isinstance(cause, _SOMEBODY_WAS_FASTER):
                raise
    if not await connection.scalar(_HAS_LETTERS):
        return NO_LETTERS
    if await connection.scalar(_IS_BEING_BUILT):
        return None
    # What is there and not valid was left behind by somebody who was interrupted.
    await connection.execute(_DROP)
    try:
        await connection.execute(_CREATE)
    except DBAPIError as error:
        if not isinstance(driver_error(error), _SOMEBODY_WAS_FASTER):
            raise
    return None
