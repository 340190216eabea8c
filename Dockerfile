FROM python:3.13.14-slim AS build

RUN python -m venv /opt/venv
COPY requirements.lock .
# Nothing but the files whose hashes are in the lock, and no code of theirs runs here.
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --no-deps --only-binary :all: -r requirements.lock


FROM python:3.13.14-slim

# In a container of its own, whatever reaches the port was let through by the host.
ENV HOST=0.0.0.0 \
    RUNTIME_FOLDER=/run/flashbid \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# New volumes mounted at these folders inherit their owner.
RUN useradd --uid 10001 --no-create-home flashbid \
    && install --directory --owner flashbid /run/flashbid /run/exports \
        /secrets/jwt_secret /secrets/postgres_password /secrets/redis_password \
        /secrets/metrics_token

COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .

USER flashbid
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=20s --start-period=30s CMD ["/app/docker/health"]
ENTRYPOINT ["/app/docker/start"]
CMD ["web"]
