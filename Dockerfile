# syntax=docker/dockerfile:1
# One image for every service, in compose, on several machines and in a cluster: code location,
# runs, webserver, daemon, API, exporter.
# The root file system may be read-only: /opt/rag_assets/.rag, ./bibles and ./inbox are volumes.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /opt/rag_assets
# The packages first: they change less often than the code, and their layer is kept.
COPY requirements-image.lock ./
RUN pip install --no-deps --require-hashes -r requirements-image.lock
COPY pyproject.toml README.md ./
COPY sql ./sql
COPY rag_assets ./rag_assets
RUN pip install --no-deps --no-build-isolation . \
    && find /opt/venv -type d -name __pycache__ -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
# Not root, and of a number of its own, so that a volume's files belong to nobody else.
RUN useradd --uid 10001 --user-group --home-dir /opt/rag_assets --shell /usr/sbin/nologin rag \
    && mkdir -p /opt/rag_assets/.rag /opt/rag_assets/bibles /opt/rag_assets/inbox \
       /opt/rag_assets/alerting \
    && chown -R rag:rag /opt/rag_assets
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/rag_assets
COPY dagster.yaml ./
COPY deploy/compose/workspace.yaml ./workspace.yaml
COPY samples ./samples
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAGSTER_HOME=/opt/rag_assets \
    MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
STOPSIGNAL SIGTERM
CMD ["rag-assets", "--help"]
