# 0k-Sync in containers: the relay (the default target), and the daemon with its command line.
#
#   docker build -t zerok-relay .
#   docker build -t zerokd --target zerokd .
#
# Both come from one build of the workspace. contrib/docker/README.md says how to run them, tests/docker-validate.sh
# checks them. No stage runs a command in the runtime image, so one without a shell does too, as long as it has the
# builder's glibc or a newer one and libgcc_s.
ARG BUILDER_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# Every manifest, with empty sources: what the dependencies are built from, so that they stay cached while only our own
# code changes.
FROM ${BUILDER_IMAGE} AS manifests
WORKDIR /manifests
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name lib.rs ! -name main.rs ! -path '*/src/bin/*.rs' -delete \
 && find . -type d -empty -delete \
 && for f in $(find . -name '*.rs'); do echo '#![allow(warnings)] fn main() {}' > $f; done

FROM ${BUILDER_IMAGE} AS build
WORKDIR /src
COPY --from=manifests /manifests .
RUN cargo build --locked --release -p zerok-relay -p zerokd -p zerokctl
COPY . .
# Cargo goes by times, and the sources are older than the empty ones that were just built in their place.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
 && cargo build --locked --release -p zerok-relay -p zerokd -p zerokctl \
 && mkdir -p /out/bin /out/relay /out/zerokd \
 && for b in zerok-relay zerokd zerokctl; do strip --strip-debug -o /out/bin/$b target/release/$b; done \
 && install -d -m 700 /out/relay/data /out/zerokd/data \
 && install -d -m 755 /out/zerokd/sync

FROM ${RUNTIME_IMAGE} AS zerokd
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zerokd" \
      org.opencontainers.image.description="0k-Sync daemon: keeps a person's devices in step through a relay that can read nothing" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/0k-sync/
COPY --from=build /out/bin/zerokd /out/bin/zerokctl /usr/local/bin/
# /data holds the device's keys and database; /sync is a place for folders. A new volume takes owner and mode from here.
COPY --from=build --chown=10001:10001 /out/zerokd/ /
ENV ZEROKD_HOME=/data
USER 10001:10001
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/zerokctl", "status", "--json"]
ENTRYPOINT ["/usr/local/bin/zerokd"]

FROM ${RUNTIME_IMAGE} AS relay
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zerok-relay" \
      org.opencontainers.image.description="0k-Sync relay: stores and forwards sealed blobs that it cannot read" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/0k-sync/
COPY contrib/docker/relay.docker.toml /etc/0k-sync/relay.toml
COPY --from=build /out/bin/zerok-relay /usr/local/bin/
# relay.key, relay.db, chunks/. A new volume takes owner and mode from here.
COPY --from=build --chown=10001:10001 /out/relay/ /
# Also for `docker exec`: health, invite, backup and check find the same configuration.
ENV ZEROK_RELAY_CONFIG=/etc/0k-sync/relay.toml
USER 10001:10001
VOLUME /data
EXPOSE 4433/udp 8080/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/zerok-relay", "health"]
ENTRYPOINT ["/usr/local/bin/zerok-relay"]
