# Two images from one build: `worker` computes; `lab` is that and what people look at.
# Files are copied and locks installed; nothing is patched, nothing is set up at start.
ARG BASE=debian:trixie-slim@sha256:d7e12182ce18b85b93007c1dedf31f2d29e01ccf3182cc4017c709b6259bc132
# Debian's Python, and a user with a number; group 0 is what an arbitrary uid comes with.
FROM ${BASE} AS system
LABEL org.opencontainers.image.title=Casa org.opencontainers.image.licenses=BSD-3-Clause
RUN --mount=source=environment/image,target=/build --mount=source=environment/apt.txt,target=/apt.txt \
    /build/apt.sh /apt.txt && useradd --no-log-init --create-home --uid 1000 --gid 0 jovyan && chmod 0775 /home/jovyan
ENV DASK_CONFIG=/etc/dask/casa.yaml HOME=/home/jovyan JUPYTERHUB_SERVICE_PREFIX=/ LANG=C.UTF-8 NUMBA_CPU_NAME=generic \
    PATH=/opt/casa/bin:/usr/local/bin:/usr/bin:/bin SHELL=/bin/bash USER=jovyan
WORKDIR /home/jovyan

# What installs the locks, and our own wheels: mounted below, never copied.
FROM system AS tools
RUN --mount=source=environment/image,target=/build --mount=type=secret,id=ca,target=/run/ca.pem \
    --mount=source=environment/bootstrap.lock,target=/bootstrap.lock \
    /build/apt.sh python3-venv && python3 -P -m venv /opt/tools && if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi && \
    /opt/tools/bin/pip install -q --no-cache-dir --disable-pip-version-check --require-hashes -r /bootstrap.lock
FROM tools AS wheel
COPY LICENSE README.md pyproject.toml /src/
COPY casa_env /src/casa_env
COPY environment/fsspec-failover /src/fsspec-failover
RUN cd /src && /opt/tools/bin/hatchling build -t wheel && cd fsspec-failover && /opt/tools/bin/hatchling build -t wheel -d ../dist
FROM system AS worker-packages
RUN --mount=source=environment/image,target=/build --mount=from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=cache,id=casa,target=/cache --mount=type=secret,id=ca,target=/run/ca.pem \
    --mount=source=environment/worker.lock,target=/worker.lock UV_CACHE_DIR=/cache /build/packages.sh /worker.lock
FROM worker-packages AS lab-packages
RUN --mount=source=environment/image,target=/build --mount=source=environment/apt-lab.txt,target=/apt.txt /build/apt.sh /apt.txt
RUN --mount=source=environment/image,target=/build --mount=from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=cache,id=casa,target=/cache --mount=type=secret,id=ca,target=/run/ca.pem \
    --mount=source=environment/lab.lock,target=/lab.lock UV_CACHE_DIR=/cache /build/packages.sh /lab.lock
# The analysis, compiled: numba goes by the date of a source, so that is made the same.
FROM lab-packages AS kernels
COPY notebooks/inputs /srv/casa/notebooks/inputs
COPY notebooks/agc /srv/casa/notebooks/agc
RUN --mount=source=casa_env,target=/own/casa_env cd /srv/casa/notebooks && find . -exec touch -d @0 {} + && PYTHONPATH=$PWD:/own python -P -m agc.warm_up && chmod -R g=u .
FROM system AS notebooks
COPY notebooks /srv/casa/notebooks
RUN cd /srv/casa && mkdir -p notebooks/results && chmod -R g=u . && find . -exec touch -d @0 {} +

FROM worker-packages AS worker
COPY environment/dask /etc/dask
RUN --mount=source=environment/image,target=/build --mount=from=tools,source=/opt/tools,target=/opt/tools \
    --mount=from=wheel,source=/src/dist,target=/dist /build/packages.sh /dist/*.whl
USER 1000
CMD ["dask", "worker"]
FROM lab-packages AS lab
ENV PYTHONPATH=/srv/casa/notebooks
COPY environment/dask /etc/dask
COPY environment/jupyter /etc/jupyter
RUN --mount=source=environment/image,target=/build --mount=from=tools,source=/opt/tools,target=/opt/tools \
    --mount=from=wheel,source=/src/dist,target=/dist /build/packages.sh /dist/*.whl && ln -s /srv/casa/notebooks notebooks
COPY --from=kernels --chown=1000:0 /srv/casa/notebooks/agc /srv/casa/notebooks/agc
COPY --from=notebooks --chown=1000:0 /srv/casa /srv/casa
USER 1000
EXPOSE 8888
HEALTHCHECK --start-period=30s --timeout=5s CMD ["sh", "-c", "curl -fsS http://127.0.0.1:8888${JUPYTERHUB_SERVICE_PREFIX}api"]
ENTRYPOINT ["tini", "-g", "--"]
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--LabApp.default_url=/lab/tree/notebooks/00-welcome.ipynb"]
