"""Secrets that sign and verify tokens. A weak one stops the start."""

from core.config.reader import ConfigError, SettingsReader

# For DEBUG only; with DEBUG off it stops the start.
DEBUG_JWT_SECRET = "debug-only-secret-never-for-production-use"  # noqa: S105
# RFC 7518, section 3.2: an HMAC key must be at least as long as the hash.
JWT_SECRET_MIN_BYTES = 32
JWT_ALGORITHMS = ("HS256", "HS384", "HS512")
_HOW_TO_MAKE_A_SECRET = (
    "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105
)
METRICS_TOKEN_MIN_BYTES = 16


def read_jwt_secret(read: SettingsReader, debug: bool, *, is_required: bool) -> str:
    """The key of the tokens; "" in a process that has none and needs none."""
    secret = read.secret("JWT_SECRET", DEBUG_JWT_SECRET if debug else "")
    if debug or not (secret or is_required):
        return secret
    if not secret:
        raise ConfigError(f"JWT_SECRET is not set, and DEBUG is off. {_HOW_TO_MAKE_A_SECRET}")
    _require_good_secret("JWT_SECRET", secret)
    return secret


def read_previous_jwt_secret(read: SettingsReader, current: str, debug: bool) -> str:
    """The previous key verifies tokens too, so it must be as strong as the current one."""
    secret = read.secret("JWT_SECRET_PREVIOUS", "")
    if secret and not debug:
        _require_good_secret("JWT_SECRET_PREVIOUS", secret)
    return "" if secret == current else secret


def _require_good_secret(name: str, secret: str) -> None:
    if secret == DEBUG_JWT_SECRET or secret.lower().startswith(("change", "your", "example")):
        raise ConfigError(
            f"{name} is a published default, and DEBUG is off. {_HOW_TO_MAKE_A_SECRET}"
        )
    if len(secret.encode()) < JWT_SECRET_MIN_BYTES:
        raise ConfigError(
            f"{name} must have at least {JWT_SECRET_MIN_BYTES} bytes. {_HOW_TO_MAKE_A_SECRET}"
        )


def read_jwt_algorithm(read: SettingsReader) -> str:
    algorithm = read.text("ALGORITHM", "HS256")
    if algorithm not in JWT_ALGORITHMS:
        raise ConfigError(f"ALGORITHM must be one of {', '.join(JWT_ALGORITHMS)}.")
    return algorithm


def read_metrics_token(read: SettingsReader) -> str:
    token = read.secret("METRICS_TOKEN", "")
    if token and len(token.encode()) < METRICS_TOKEN_MIN_BYTES:
        raise ConfigError(f"METRICS_TOKEN must have at least {METRICS_TOKEN_MIN_BYTES} bytes.")
    return token
