"""The auction: rules, storage and scripts. Imports neither Flask nor Celery."""
