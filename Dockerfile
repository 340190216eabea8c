# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build

RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt


FROM python:3.13-slim

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# New volumes mounted at these folders inherit their owner.
RUN useradd --uid 10001 --no-create-home flashbid \
    && install --directory --owner flashbid /secrets /run/flashbid

COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .

USER flashbid
EXPOSE 8000
ENTRYPOINT ["/app/docker/start"]
CMD ["web"]
