"""Whether jobs can be sent, for a release and a start; what the broker says if not."""

from worker.celery_app import app


def check() -> str | None:
    """What is wrong with the broker, in a sentence; None if it accepts our connection."""
    connection = app.connection_for_write()
    try:
        with connection:
            connection.ensure_connection(max_retries=1, timeout=1)
    except Exception as error:  # noqa: BLE001 - each broker's client has its own
        reason = str(error.__cause__ or error).strip() or type(error).__name__
        return f"{reason.rstrip('.')}. Start it, or correct CELERY_BROKER_URL."
    return None


def address() -> str:
    """The broker's URL without its password."""
    return str(app.connection_for_write().as_uri())
