# The edge: head, codec, link, without PyTorch. linux/arm64 (Raspberry Pi) and linux/amd64.
# `docker build -f deploy/edge.Dockerfile .` in the top folder.
#
# EXTRA names the extras of pyproject.toml: by default all that an edge may need. `video` (OpenCV) is by far the largest;
# without it: --build-arg EXTRA="edge watch events mqtt"
#
# Jetson, with the PyTorch of its base image (JetPack 6 has Python 3.10, older than the pins are for):
#       --build-arg BASE=... --build-arg EXTRA="edge-torch watch video mqtt" --build-arg VENV_FLAGS=--system-site-packages
#       --build-arg CONSTRAINTS=/dev/null
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRA="edge watch video events mqtt"
ARG VENV_FLAGS=
ARG CONSTRAINTS=constraints.txt
WORKDIR /build
RUN python3 -m venv ${VENV_FLAGS} /opt/neucodex && mkdir /verdicts
COPY pyproject.toml constraints.txt deploy/requirements.py deploy/slim.py ./
RUN python3 requirements.py pyproject.toml ${EXTRA} > requirements.txt \
    && /opt/neucodex/bin/python -m pip install --no-cache-dir -c "${CONSTRAINTS}" -r requirements.txt \
    && /opt/neucodex/bin/python -m pip uninstall --yes setuptools pip \
    && python3 slim.py /opt/neucodex
COPY protos /app/protos
COPY shared /app/shared
COPY edge_client /app/edge_client
# The root file system is read-only later on.
RUN python3 -m compileall -q /app

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="neucodex-edge" \
      org.opencontainers.image.description="The edge half of a spiking network split over two machines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/neucodex /opt/neucodex
COPY --from=build /app /app
# A volume that is mounted here gets this owner.
COPY --from=build --chown=10001:10001 /verdicts /verdicts
WORKDIR /app
ENV PATH=/opt/neucodex/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NEUCODEX_METRICS=0.0.0.0:9465 \
    NEUCODEX_HEARTBEAT=/tmp/neucodex-heartbeat
USER 10001:10001
EXPOSE 9465
STOPSIGNAL SIGTERM
# Whether the edge itself is alive: one that answers without a cloud is, and its metrics say so. No new Python each time.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "find \"$NEUCODEX_HEARTBEAT\" -mmin -1 | grep -q ."]
ENTRYPOINT ["python", "-m", "edge_client"]
CMD ["classify"]
