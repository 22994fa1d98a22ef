# Treecast's image: both roles and every other command. docs/containers.md shows how it is used.
#
#   docker build -t treecast .
#   docker build -t treecast --build-arg BASE=registry.example.com/python:3.11 .
#
# The base needs Python 3.11 or later with its venv module, in both stages the same one. `./dev image` builds this file without
# any container engine, over a base made from Debian's packages.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# For a build that reaches no package index: a folder with the wheels, mounted. Of what is set here nothing is in the image.
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock pyproject.toml image/locked.py ./
RUN python3 locked.py requirements.lock pyproject.toml build >build.lock \
    && python3 locked.py requirements.lock pyproject.toml run >run.lock \
    && python3 -m venv tools \
    && tools/bin/python -m pip install --require-hashes -r build.lock \
    && python3 -m venv --without-pip /opt/treecast \
    && tools/bin/python -m pip --python /opt/treecast/bin/python install --require-hashes --no-deps -r run.lock
COPY README.md LICENSE ./
COPY common common
COPY producer producer
COPY consumer consumer
COPY treecast treecast
RUN tools/bin/python -m build --wheel --no-isolation --outdir wheel \
    && tools/bin/python -m pip --python /opt/treecast/bin/python install --no-index --no-deps wheel/*.whl \
    && tools/bin/python -m pip --python /opt/treecast/bin/python check

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="treecast" \
      org.opencontainers.image.description="Keeps one master directory tree and its replicas identical, within seconds, provably." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# A number, so that an orchestrator can see that it is not root. What is mounted here for the first time takes this owner.
RUN echo 'treecast:x:10001:10001:Treecast:/var/lib/treecast:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'treecast:x:10001:' >>/etc/group \
    && install -d -o 10001 -g 10001 -m 700 /var/lib/treecast \
    && install -d -o 10001 -g 10001 -m 755 /srv/tree
COPY --from=build /opt/treecast /opt/treecast
# All that is written is state, and the tree of a replica; SQLite's own temporary files too. The rest may be read-only.
ENV PATH=/opt/treecast/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/treecast \
    TREECAST_STATE=/var/lib/treecast \
    SQLITE_TMPDIR=/var/lib/treecast \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /
VOLUME /var/lib/treecast
STOPSIGNAL SIGTERM
# No HEALTHCHECK: this image is also for commands that end. compose.yaml and k8s/ ask /healthz and /readyz of what runs.
ENTRYPOINT ["treecast"]
CMD ["--help"]
