# The image service for a DaemonSet: the self-contained executable, which is also what its installer puts on the node.
# From the root of the repository, after the executable was built:
#
#   docker build -f deploy/docker/kubelet-image-service.Dockerfile -t kubelet-image-service .
#
# docs/container-images.md has the rest.

# npm and a shell, for the list of parts.
ARG BASE_IMAGE=node:24-bookworm-slim
# What the image stands on: glibc 2.28 or newer, libstdc++, and nothing else is needed, not even a shell.
ARG RUNTIME_IMAGE=debian:12-slim

FROM ${BASE_IMAGE} AS build
# In the build's context.
ARG EXECUTABLE=dist/executable/kubelet-image-service-linux-x64
# Where `npm ci` finds packages, the only network that is asked.
ARG NPM_CONFIG_REGISTRY=https://registry.npmjs.org/
WORKDIR /build
COPY package.json package-lock.json LICENSE ./
# `npm sbom --omit dev` would leave out what packages of development need, too. So the others are installed, and
# package.json is made to want no more than those.
RUN npm ci --omit dev --ignore-scripts --no-audit --no-fund && npm pkg delete devDependencies
COPY ${EXECUTABLE} /image/opt/kubelet-image-service/bin/kubelet-image-service
RUN set -eu; \
    app=/image/opt/kubelet-image-service; \
    mkdir -p /image/usr/local/bin /image/usr/share/sbom; \
    for format in cyclonedx spdx; do \
      npm sbom --sbom-format "$format" \
        > "/image/usr/share/sbom/kubelet-image-service.$format.json"; \
    done; \
    mv LICENSE "$app"; \
    chmod 755 "$app/bin/kubelet-image-service"; \
    ln -s /opt/kubelet-image-service/bin/kubelet-image-service /image/usr/local/bin/kubelet-image-service

FROM ${RUNTIME_IMAGE}
COPY --from=build /image/ /
# Its socket is kubelet's, its installer writes to the node: root, with the capabilities taken away that it can do without.
USER 0:0
STOPSIGNAL SIGTERM
# For `serve` alone; Kubernetes looks at its own probes.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
  CMD ["/usr/local/bin/kubelet-image-service", "probe", "--endpoint", "unix:///run/kubelet-image-service/image.sock", "--timeout", "8s"]
ENTRYPOINT ["/usr/local/bin/kubelet-image-service"]
CMD ["serve", "--config", "/etc/kubelet-image-service/config.yaml"]
ARG RUNTIME_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="kubelet-image-service" \
      org.opencontainers.image.description="A CRI image service for kubelet: pulls private images with credentials that no pod has to bring" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
