# The shop's image. Any base with Python 3.11 or newer and its venv module will do.
ARG BASE_IMAGE=python:3.13-slim-bookworm

# The tools of the build stay in this stage; only /venv and the wheel leave it.
FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv /venv \
    && /venv/bin/pip install --require-hashes -r requirements.txt \
    && python3 -m venv /tools \
    && /tools/bin/pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /venv/bin/pip install --no-deps --no-index /dist/*.whl

# `make docker/compose/unittest`: the same Python and the same installed wheel, and the tests.
FROM builder AS test
COPY requirements-dev.txt requirements-clients.txt ./
RUN /venv/bin/pip install --require-hashes -r requirements-dev.txt \
    && /venv/bin/pip install --require-hashes --target /venv/clients -r requirements-clients.txt \
    && install -d -o 65534 -g 65534 /app
WORKDIR /app
COPY --chown=65534:65534 . .
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
CMD ["pytest", "-n", "2", "-p", "no:cacheprovider"]

FROM ${BASE_IMAGE} AS runtime
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    SHOP_ENVIRONMENT=production
COPY --from=builder /venv /venv
# The only folder the shop may write to: where SQLite lives if SHOP_DATABASE_URL names nothing else.
RUN install -d -o 65534 -g 65534 /data
WORKDIR /data
USER 65534:65534
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["shop"]
CMD ["serve", "--host", "0.0.0.0"]
