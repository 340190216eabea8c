"""The auction itself: rules, storage and scripts. Knows neither Flask nor Celery."""
