# The cloud: decoder, tail, scheduler. `docker build -f deploy/cloud.Dockerfile .` in the top folder.
#
# As it is for a CPU: onnxruntime, no PyTorch.
# CUDA: --build-arg EXTRA=cloud-torch --build-arg TORCH=torch==2.13.0; PyPI's PyTorch brings CUDA, TORCH_INDEX names
#       another index, and the NVIDIA container runtime brings the driver. Or a base image that brings its own PyTorch:
#       --build-arg BASE=... --build-arg EXTRA=cloud-torch --build-arg VENV_FLAGS=--system-site-packages
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRA=cloud
ARG TORCH=
ARG TORCH_INDEX=
ARG VENV_FLAGS=
# Where the base's Python is older than the pins: /dev/null.
ARG CONSTRAINTS=constraints.txt
WORKDIR /build
RUN python3 -m venv ${VENV_FLAGS} /opt/neucodex \
    && if [ -n "${TORCH}" ]; then \
        /opt/neucodex/bin/python -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "${TORCH}"; fi
COPY pyproject.toml constraints.txt deploy/requirements.py deploy/slim.py ./
RUN python3 requirements.py pyproject.toml ${EXTRA} > requirements.txt \
    && /opt/neucodex/bin/python -m pip install --no-cache-dir -c "${CONSTRAINTS}" -r requirements.txt \
    && /opt/neucodex/bin/python -m pip uninstall --yes setuptools pip \
    && python3 slim.py /opt/neucodex
COPY protos /app/protos
COPY shared /app/shared
COPY cloud_server /app/cloud_server
# The root file system is read-only later on.
RUN python3 -m compileall -q /app

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="neucodex-cloud" \
      org.opencontainers.image.description="The cloud half of a spiking network split over two machines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/neucodex /opt/neucodex
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/neucodex/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NEUCODEX_LISTEN=0.0.0.0:50051 \
    NEUCODEX_METRICS=0.0.0.0:9464 \
    NEUCODEX_HEALTH=127.0.0.1:50053
USER 10001:10001
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
# On the port for probes, whatever certificates the other one has.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "shared.health_check", "--cloud", "127.0.0.1:50053", "--insecure"]
ENTRYPOINT ["python", "-m", "cloud_server"]
