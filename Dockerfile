# syntax=docker/dockerfile:1

# The tool chain stays in this stage. It builds on the machine's own platform and crosses over to the target's, which
# takes minutes less than emulation.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src

COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=unknown
ARG DATE=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w \
      -X github.com/muster-mdm/muster/cmd/muster/serve.version=$VERSION \
      -X github.com/muster-mdm/muster/cmd/muster/serve.commit=$COMMIT \
      -X github.com/muster-mdm/muster/cmd/muster/serve.date=$DATE" \
    -o /out/muster ./cmd/muster
RUN printf 'muster:x:65532:65532:muster:/:/sbin/nologin\n' > /out/passwd

# Nothing but the binary, the authorities that APNs and databases are verified by, and a user without rights.
FROM scratch
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Muster" \
      org.opencontainers.image.description="Takes every Apple device of an organisation to Enrolled, with one durable workflow per device" \
      org.opencontainers.image.source="https://github.com/muster-mdm/muster" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$COMMIT
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/passwd /etc/passwd
COPY --from=build /out/muster /usr/local/bin/muster
USER 65532:65532
ENV MUSTER_LISTEN=:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 CMD ["/usr/local/bin/muster", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/muster"]
CMD ["serve"]
