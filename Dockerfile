# One image for the API, the consumers and the migrations: compose chooses by command and environment.
# Nothing here needs more than the classic Dockerfile syntax.

# --- build: the dependencies, in a virtual environment
FROM python:3.13-slim AS build

# For strip and tini, see below.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils tini \
 && rm -rf /var/lib/apt/lists/*

# No pip inside: the image needs the packages, not the installer.
RUN python -m venv --without-pip /opt/venv

# Only wheels, so that no compiler is ever needed, and only those whose hash is in the lock.
# Their debug symbols are a third of them, and nobody runs a debugger here.
COPY requirements.lock ./
RUN pip --python /opt/venv/bin/python install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock \
 && find /opt/venv -name '*.so' -exec strip --strip-debug {} +

# --- build-test: the same environment, and the tools of the tests
FROM build AS build-test
COPY requirements-dev.lock ./
RUN pip --python /opt/venv/bin/python install --no-cache-dir --only-binary=:all: --require-hashes -r requirements-dev.lock

# --- code: ours, with its bytecode
FROM python:3.13-slim AS code
WORKDIR /taskmill
COPY config config
COPY app app
# The files of an image do not change, so Python need not compare each with its source at every start.
RUN python -m compileall -q --invalidation-mode unchecked-hash app

# --- base: what app and test have in common
FROM python:3.13-slim AS base

# A fixed uid, so that a mounted folder or a cluster's policy can name it.
RUN groupadd --gid 10001 taskmill \
 && useradd --uid 10001 --gid taskmill --no-log-init --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin taskmill

# Unbuffered: a killed process must not take its last lines with it.
# No bytecode at run time: it is in the image already, and the user may not write there.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /taskmill

# PID 1 ignores a signal until it has a handler for it: a SIGTERM while Python starts would be lost, and the stop take
# until Docker's SIGKILL. tini passes it on, and reaps the orphans of a killed Supervisor.
COPY --from=build /usr/bin/tini-static /usr/local/bin/tini
ENTRYPOINT ["tini", "--"]

# --- test: run by docker-compose.test.yml
FROM base AS test
# What we tell people to type is tested as they would type it.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/*
# The tests write caches beside themselves.
RUN chown taskmill:taskmill /taskmill
COPY --from=build-test /opt/venv /opt/venv
COPY --chown=taskmill:taskmill . .
USER 10001:10001
CMD ["pytest"]

# --- app: the last stage is what a plain `docker build .` makes
FROM base AS app
LABEL org.opencontainers.image.title="Taskmill" \
      org.opencontainers.image.description="A task queue that services reach over HTTP."

# RUN_DIR is for Supervisor's control socket, here so that supervisorctl in the container finds it.
ENV HOST=0.0.0.0 \
    PORT=8000 \
    RUN_DIR=/tmp/taskmill

COPY --from=build /opt/venv /opt/venv
COPY --from=code /taskmill /taskmill

USER 10001:10001
EXPOSE 8000

# Whether the process answers, not whether PostgreSQL does: a restart of the API would not mend that.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-ISc", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/livez\", timeout=2)"]

# It checks the settings and becomes Supervisor, which stops its programs in order on SIGTERM.
CMD ["config/run/serve"]
