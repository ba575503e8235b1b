# The shop's images: `prod` is served, `test` runs the tests, `dev` is for work on the source.
# Any base with Python 3.11 or newer and its venv module will do.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# The tools of the build stay in this stage; only /venv leaves it.
FROM base AS builder
# Every file of the image has this date, so that the same lock makes the same image.
ARG SOURCE_DATE_EPOCH=315532800
# With the same seed, sets are compiled in the same order.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONHASHSEED=0
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv /tools \
    && /tools/bin/pip install --require-hashes -r requirements-build.txt \
    && python3 -m venv --without-pip /venv \
    && /tools/bin/pip --python /venv/bin/python install --no-compile --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /tools/bin/pip --python /venv/bin/python install --no-compile --no-deps --no-index /dist/*.whl

# What no running shop reads, about 55 MB: sources of compiled modules, tests, the editor beside
# Swagger UI, and the example data of Litestar's test factories. The rest is compiled now, since the
# file system is read-only later. By its hash, not its date, a compiled file is always the same.
RUN site=$(/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && find "$site" -type f \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' \
        -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.pyx' -o -name '*.proto' \) -delete \
    && find "$site/swagger_ui/static" -type f ! -name 'swagger-ui-bundle.js' ! -name 'swagger-ui.css' \
        ! -name 'favicon-32x32.png' ! -name LICENSE -delete \
    && rm -rf /venv/bin/faker /venv/bin/[Aa]ctivate* "$site"/faker* "$site"/polyfactory* "$site/test" \
        "$site/aiosqlite/tests" "$site/certifi/tests" "$site/greenlet/tests" "$site/sqlalchemy/testing" \
    && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(pygments/lexers|sentry_sdk/integrations|alembic/testing|cffi|pycparser|jinja2|httpx|markdown_it)/' "$site" \
    && find /venv -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# The packages and the wheel of `prod`, the tools of the tests, and the tests.
FROM builder AS test
COPY requirements-dev.txt requirements-clients.txt ./
RUN /tools/bin/pip --python /venv/bin/python install --require-hashes -r requirements-dev.txt \
    && /tools/bin/pip install --require-hashes --target /venv/clients -r requirements-clients.txt \
    && install -d -o 65534 -g 65534 /app
WORKDIR /app
COPY --chown=65534:65534 . .
USER 65534:65534
CMD ["pytest", "-n", "2", "-p", "no:cacheprovider"]

# The source is imported from /app/src: mount your working copy at /app.
FROM test AS dev
ENV PYTHONPATH=/app/src \
    SHOP_ENVIRONMENT=development
EXPOSE 8000
CMD ["shop", "serve", "--host", "0.0.0.0"]

FROM base AS prod
ARG SOURCE_DATE_EPOCH=315532800
# The base's pip can install nothing for this user, but it can load what others wrote.
# /data is the only folder the shop may write to: where SQLite lives if SHOP_DATABASE_URL names nothing else.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
        /usr/bin/pip* /usr/lib/python3/dist-packages/pip* /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && install -d -o 65534 -g 65534 /data \
    && touch --date="@${SOURCE_DATE_EPOCH}" /data
COPY --from=builder /venv /venv
ENV SHOP_ENVIRONMENT=production
WORKDIR /data
USER 65534:65534
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client, unlike urllib, asks no proxy that the environment may name.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/health/live'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["shop"]
CMD ["serve", "--host", "0.0.0.0"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="shop" \
    org.opencontainers.image.description="Takes orders and deducts stock, and never sells what is not there." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}"
