"""What carries calls to Redis, by configuration. Nothing here connects."""

from dataclasses import replace

from core.bootstrap import bootstrap
from core.combiner import CallCombiner
from core.config import load_settings


def test_a_cluster_carries_no_call_in_a_pipeline_of_several_nodes() -> None:
    """One that is away would hold up, or fail, what is asked of the others."""
    settings = replace(load_settings({"DEBUG": "true"}), redis_cluster=(("127.0.0.1", 1),))
    services = bootstrap(settings)
    assert not isinstance(services.bidding.calls, CallCombiner)
    assert not isinstance(services.board.calls, CallCombiner)
