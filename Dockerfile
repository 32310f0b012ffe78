# docker build -t tocsin .
# Everything that is installed has its hash in a requirements*.lock file, the tools that build the wheel too.

FROM python:3.12-slim AS build
ENV UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
WORKDIR /src
COPY requirements.lock requirements-dev.lock requirements-tools.lock ./
RUN python -m pip install --no-cache-dir --require-hashes -r requirements-tools.lock \
 && uv venv --python "$(command -v python)" /opt/tocsin \
 && uv pip install --no-cache --python /opt/tocsin/bin/python --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY tocsin tocsin
COPY collectors collectors
COPY detectors detectors
COPY alerting alerting
COPY config config
RUN uv build --no-cache --wheel --build-constraints requirements-dev.lock --require-hashes --out-dir /wheels . \
 && uv pip install --no-cache --no-index --no-deps --compile-bytecode --python /opt/tocsin/bin/python /wheels/*.whl

FROM python:3.12-slim
# One thread per process: the work is shared out by processes, and the tick wants to be small rather than wide.
ENV PATH=/opt/tocsin/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
RUN groupadd --system --gid 10001 tocsin \
 && useradd --system --uid 10001 --gid tocsin --home-dir /var/lib/tocsin --no-create-home --shell /usr/sbin/nologin tocsin \
 && install -d -o tocsin -g tocsin -m 0750 /var/lib/tocsin
COPY --from=build /opt/tocsin /opt/tocsin
USER tocsin
WORKDIR /var/lib/tocsin
VOLUME /var/lib/tocsin
EXPOSE 9464
# Alive is not the same as useful: /-/ready says whether it can see and deliver, and Centreon's freshness check whether it does.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/-/healthy', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tocsin"]
CMD ["run", "--config", "/etc/tocsin/tocsin.yaml"]
