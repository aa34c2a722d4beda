# The dashboard over results that are mounted at /results: no model, no torch, nothing that runs one.
#   docker build -t tells-dashboard .
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:8050:8050 -v "$PWD/experiments:/results/experiments:ro" \
#     -v "$PWD/logs:/results/logs:ro" -v "$PWD/config:/results/config:ro" tells-dashboard
FROM python:3.11-slim
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY envs/cpu.txt envs/cpu.txt
COPY workflow workflow
# The pins of the CPU environment hold the versions; what the dashboard does not need is not installed.
RUN pip install --no-cache-dir --constraint envs/cpu.txt ".[dashboard]" && useradd --create-home reader
USER reader
WORKDIR /results
EXPOSE 8050
CMD ["tells", "dashboard", "experiments", "--host", "0.0.0.0", "--public", "--workers", "2"]
