# The proxy, as a user without rights and without a package manager. From the root of the repository:
#
#   docker build -f deploy/docker/docker-registry-proxy.Dockerfile -t docker-registry-proxy .
#
# docs/container-images.md has the rest.

# Node.js, npm and a shell: what builds. Its node is what runs.
ARG BASE_IMAGE=node:24-bookworm-slim
# What the image stands on: the C library of BASE_IMAGE, libstdc++, and nothing else is needed, not even a shell.
ARG RUNTIME_IMAGE=debian:12-slim

FROM ${BASE_IMAGE} AS build
# Where `npm ci` finds packages, the only network that is asked.
ARG NPM_CONFIG_REGISTRY=https://registry.npmjs.org/
WORKDIR /build
COPY package.json package-lock.json ./
# No package has to run a script of its own to be installed here; so none may.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY LICENSE tsconfig.json tsconfig.build.json ./
COPY src src
# The list of parts: `npm sbom --omit dev` would leave out what packages of development need, too, and without it npm
# takes their absence for a fault. So package.json is made to want none.
# /node_modules leads a plugin, wherever it is mounted, to the one copy of docker-registry-proxy/plugin.
RUN set -eu; \
    app=/image/opt/docker-registry-proxy; \
    npm run --silent build; \
    rm -r dist/testing dist/bin/demo.*; \
    mkdir -p "$app" /image/usr/local/bin /image/usr/share/sbom /image/node_modules /state; \
    npm prune --omit dev --ignore-scripts --no-audit --no-fund; \
    npm pkg delete devDependencies; \
    for format in cyclonedx spdx; do \
      npm sbom --sbom-format "$format" > "/image/usr/share/sbom/docker-registry-proxy.$format.json"; \
    done; \
    find dist node_modules -type f \( -name '*.d.ts' -o -name '*.d.[cm]ts' -o -name '*.map' \) -delete; \
    chmod 755 dist/bin/docker-registry-proxy.js; \
    mv dist node_modules package.json LICENSE "$app"; \
    cp "$(node -p process.execPath)" /image/usr/local/bin/node; \
    ln -s /opt/docker-registry-proxy/dist/bin/docker-registry-proxy.js /image/usr/local/bin/docker-registry-proxy; \
    ln -s /opt/docker-registry-proxy /image/node_modules/docker-registry-proxy

FROM ${RUNTIME_IMAGE}
COPY --from=build /image/ /
# Empty: a new volume mounted here belongs to the user below.
COPY --from=build --chown=65532:65532 /state/ /var/lib/docker-registry-proxy/
ENV NODE_ENV=production HOME=/var/lib/docker-registry-proxy
WORKDIR /etc/docker-registry-proxy
USER 65532:65532
EXPOSE 5000
STOPSIGNAL SIGTERM
# Kubernetes looks at its own probes alone.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
  CMD ["/usr/local/bin/node", "/opt/docker-registry-proxy/dist/bin/docker-registry-proxy.js", "probe", "--config", "/etc/docker-registry-proxy/config.yaml"]
ENTRYPOINT ["/usr/local/bin/node", "/opt/docker-registry-proxy/dist/bin/docker-registry-proxy.js"]
CMD ["serve", "--config", "/etc/docker-registry-proxy/config.yaml"]
ARG RUNTIME_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="docker-registry-proxy" \
      org.opencontainers.image.description="A Docker/OCI registry front under your own domain: your authentication and policy, hosted registries behind it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
