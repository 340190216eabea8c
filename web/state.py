"""Per-application state for views: the services and the page caches."""

from typing import cast

from flask import Flask, current_app

from core.bootstrap import Services
from web.http.buckets import Buckets
from web.page_cache.board import BoardPages
from web.page_cache.results import ResultsPages

_SERVICES_KEY = "flashbid_services"
_BOARD_PAGES_KEY = "flashbid_board_pages"
_RESULTS_PAGES_KEY = "flashbid_results_pages"


def init_app(app: Flask, services: Services) -> None:
    """Attach services and page caches to the application."""
    app.extensions[_SERVICES_KEY] = services
    # A reader's misses of both caches count together.
    misses = Buckets("uncached-pages", services.settings.limits.uncached_pages_per_minute)
    app.extensions[_BOARD_PAGES_KEY] = BoardPages(
        services.board, misses, max_wait_seconds=services.runtime.max_wait_seconds
    )
    app.extensions[_RESULTS_PAGES_KEY] = ResultsPages(services.results, misses)


def services() -> Services:
    """The services of the application that handles this request."""
    return services_of(current_app)


def services_of(app: Flask) -> Services:
    """The services of an application."""
    return cast(Services, app.extensions[_SERVICES_KEY])


def board_pages_of(app: Flask) -> BoardPages:
    """The board pages of an application."""
    return cast(BoardPages, app.extensions[_BOARD_PAGES_KEY])


def results_pages() -> ResultsPages:
    """The results pages of the application that handles this request."""
    return results_pages_of(current_app)


def results_pages_of(app: Flask) -> ResultsPages:
    """The results pages of an application."""
    return cast(ResultsPages, app.extensions[_RESULTS_PAGES_KEY])
