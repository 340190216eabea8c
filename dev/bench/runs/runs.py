"""What every kind of run is made of."""

from dev.bench.measures import Figures
from dev.bench.options import Options
from dev.bench.servers.stack import BenchServers


class Runs:
    """Runs on these servers, under these options; what they find are the figures."""

    def __init__(self, servers: BenchServers, figures: Figures, options: Options) -> None:
        self._servers = servers
        self._services = servers.services
        self._figures = figures
        self._options = options
