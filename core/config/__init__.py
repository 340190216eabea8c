"""Settings, read once from the environment. It makes no connections."""

from core.config.reader import ConfigError, SettingsReader
from core.config.secrets import secrets_of
from core.config.settings import (
    PROJECT_ROOT,
    RUNNING_ENV_PATH,
    Settings,
    gather_values,
    load_settings,
    read_settings,
)

__all__ = [
    "PROJECT_ROOT",
    "RUNNING_ENV_PATH",
    "ConfigError",
    "Settings",
    "SettingsReader",
    "gather_values",
    "load_settings",
    "read_settings",
    "secrets_of",
]
