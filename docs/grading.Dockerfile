# Where hand-ins are graded (docs/instructors.md, step 4): the library, without solutions or tests.
FROM python:3.12-slim
COPY pyproject.toml LICENSE /letter/
COPY letterlib /letter/letterlib
# For a torch without NVIDIA's libraries: --build-arg TORCH="--index-url ADDRESS" (docs/troubleshooting.md)
ARG TORCH=""
RUN pip install --no-cache-dir torch $TORCH && pip install --no-cache-dir '/letter[course]'
ENV HOME=/tmp USER=grader
