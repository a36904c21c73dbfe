# The image of Fleet itself, with the joke workflow: docker-compose.yml and the chart's example run it.
# For a package of your own, `fleet init` writes a Dockerfile.
ARG PYTHON=3.12

# The first stage has compilers, which some platforms need for Faust; the second is what runs.
FROM python:${PYTHON} AS build
WORKDIR /src
COPY requirements.txt .
# Pinned with hashes: pip refuses any other file that an index serves.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY fleet fleet
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip check

FROM python:${PYTHON}-slim
# State is a copy of Kafka's: a volume makes a restart quicker, and is not needed.
RUN useradd --uid 10001 --no-create-home worker \
    && install --directory --owner worker --group worker /data
COPY --from=build /opt/venv /opt/venv
# The root file system may be read-only: the worker writes to /data and /tmp alone.
ENV PATH=/opt/venv/bin:$PATH \
    FLEET_DATA_DIR=/data \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /data
# By number, so that Kubernetes sees that it is not root.
USER 10001
# /metrics, /live, /ready
EXPOSE 6066
# Whether the process answers. One that answers and makes no progress ends itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:6066/live', timeout=4)"]
# Lists and no shell: the worker is process 1 and gets the signal that asks it to stop.
CMD ["faust", "-A", "fleet.joke", "worker", "-l", "info"]
