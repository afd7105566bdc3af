# The environment of this repository, with its requirements installed.
#
#   docker build -t can .                                 CPU
#   docker build -t can --build-arg CAN_JAX=cuda13 .      NVIDIA GPUs; then `docker run --gpus all ...`
#
#   docker run --rm -it -v can-cache:/root/.cache -v "$PWD/results:/can/results" \
#     -v "$PWD/checkpoints:/can/checkpoints" can bash experiments/table2_jft.sh
FROM python:3.12-slim-bookworm

# git: a run's provenance names the commit that it was made by. npm: some pictures are published as its packages.
RUN apt-get update && apt-get install --yes --no-install-recommends git npm && rm -rf /var/lib/apt/lists/*

ARG CAN_JAX=cpu
WORKDIR /can
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip bash experiments/setup.sh

# .venv is first on PATH, for `python experiments/pretrain.py` too.
ENV PATH="/can/.venv/bin:$PATH"
CMD ["bash", "experiments/table2_jft.sh"]
