# The image of Fleet itself, with the joke workflow in it: what docker-compose.yml and the chart's
# example run. For a package of your own `fleet init` writes a Dockerfile that takes it along.
ARG PYTHON=3.12

# The first stage has compilers, which some platforms need for Faust; the second is what runs.
FROM python:${PYTHON} AS build
WORKDIR /src
COPY requirements.txt .
# Pinned with hashes: what an index serves in their place is refused.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY fleet fleet
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip check

FROM python:${PYTHON}-slim
# State is a copy of what is in Kafka: a volume makes a restart quicker, and is not needed.
RUN useradd --uid 10001 --no-create-home worker \
    && install --directory --owner worker --group worker /data
COPY --from=build /opt/venv /opt/venv
# The root file system may be read-only: all that is written goes to /data and /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    FLEET_DATA_DIR=/data \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /data
# By number, so that Kubernetes can tell that it is not root.
USER 10001
# /metrics, /live, /ready
EXPOSE 6066
# Whether the process answers; one that answers and does not get on ends itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:6066/live', timeout=4)"]
# Lists and no shell: the worker is process 1 and gets the signal that asks it to stop.
CMD ["faust", "-A", "fleet.joke", "worker", "-l", "info"]
