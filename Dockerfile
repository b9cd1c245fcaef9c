# Kennel as a SageMaker training and hosting container: `train` and `serve` are SageMaker's arguments.
#   docker build -t kennel .
#   docker run -v $PWD/ml:/opt/ml kennel train
#   docker run -p 8080:8080 -v $PWD/ml:/opt/ml kennel serve
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p kennel

# ONNX Runtime is 1.5 to 4 times as fast as the built-in engine; the pinned, hashed wheel is
# fetched once, here.
FROM python:3.12-slim-bookworm AS engine
COPY --from=build /src/target/release/kennel /usr/local/bin/kennel
RUN KENNEL_DATA=/opt/kennel kennel engine install onnxruntime

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/kennel /usr/local/bin/kennel
COPY --from=engine /opt/kennel /opt/kennel
ENV KENNEL_DATA=/opt/kennel KENNEL_CACHE=/tmp/kennel-cache
EXPOSE 8080
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
ENTRYPOINT ["kennel"]
CMD ["serve"]
