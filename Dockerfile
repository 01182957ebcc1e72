# One image for all services: `docker run tidings:0.1.0 services.gateway`; for the operator `docker run … cli init`.
# Build it with `docker build -t tidings:0.1.0 .`; every package comes with a hash from requirements/base.txt.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/tidings
ENV PATH=/opt/tidings/bin:$PATH
WORKDIR /build
COPY requirements/base.txt requirements/base.txt
RUN pip install --require-hashes --no-deps --only-binary :all: -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY sdk/python sdk/python
COPY tidings tidings
COPY cli cli
COPY services services
RUN pip install --no-deps --no-build-isolation ./sdk/python . && pip check

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/tidings /opt/tidings
# PYTHONDONTWRITEBYTECODE: the root file system is read-only in a cluster.
ENV PATH=/opt/tidings/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root; the same as runAsUser in deploy/k8s.
USER 10001:10001
WORKDIR /
EXPOSE 8080 9101
ENTRYPOINT ["python", "-m"]
CMD ["cli", "--help"]
