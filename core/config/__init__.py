"""Settings, read once from the environment. It makes no connections."""

from core.config.reader import ConfigError, SettingsReader, host_port
from core.config.secrets import secrets_of
from core.config.settings import (
    PROJECT_ROOT,
    RUNNING_ENV_PATH,
    Settings,
    gather_values,
    load_settings,
    read_settings,
    running_values,
    unknown_setting_sentences,
    unknown_settings,
)

__all__ = [
    "PROJECT_ROOT",
    "RUNNING_ENV_PATH",
    "ConfigError",
    "Settings",
    "SettingsReader",
    "gather_values",
    "host_port",
    "load_settings",
    "read_settings",
    "running_values",
    "secrets_of",
    "unknown_setting_sentences",
    "unknown_settings",
]
