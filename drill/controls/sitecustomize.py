"""Takes one guard away, in the drill's child processes only.

Python imports this by itself where the drill has put its folder on PYTHONPATH. What
DRILL_CONTROL names is patched when the product's module has been imported.
"""

import os
import sys
from importlib.abc import MetaPathFinder


class _Patcher(MetaPathFinder):
    """Patches a module at its first import, however it is imported."""

    def __init__(self, module: str, patch) -> None:
        self._module, self._patch = module, patch

    def find_spec(self, name, _path=None, _target=None):
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def run_and_patch(module) -> None:
            run(module)
            self._patch(module)

        spec.loader.exec_module = run_and_patch
        return spec


def trim_before_commit(bid_log) -> None:
    original = bid_log.BidLog._persist_next

    def persist_next(self, db, session_id, offset):
        entries = self._read(session_id, count=self._batch_size)
        if entries:
            self._trim(session_id, bid_log.sequence_of(entries[-1][0]))
            self._read_anew = lambda *_: entries
            self._read = lambda *_, **__: entries
        try:
            return original(self, db, session_id, offset)
        finally:
            self.__dict__.pop("_read", None)
            self.__dict__.pop("_read_anew", None)

    bid_log.BidLog._persist_next = persist_next


def no_offset_check(bid_log) -> None:
    """What a drain died before trimming is taken for new; the key does not see it."""

    def read_anew(self, _db, session_id, offset):
        entries = self._read(session_id)
        return [(f"{offset + n}-0", fields) for n, (_, fields) in enumerate(entries, 1)]

    bid_log.BidLog._read_anew = read_anew


def no_lock(bid_log) -> None:
    """Drains of one session at once; a pause makes sure that they meet."""
    import time

    def run_once(self, session_id):
        with self._database.begin() as db:
            offset = db.scalar(
                bid_log.select(bid_log.BidLogOffset.persisted_sequence).where(
                    bid_log.BidLogOffset.session_id == session_id
                )
            )
            batch = self._persist_next(db, session_id, offset)
            time.sleep(0.1)
        self._trim(session_id, batch.persisted_sequence)
        return batch

    bid_log.BidLog.run_once = run_once


def weights_acked_early(celery_app) -> None:
    celery_app.app.conf.task_acks_late = False
    celery_app.app.conf.task_reject_on_worker_lost = False


def bad_entry_raises(bid_log) -> None:
    def checked(_self, _db, session_id, entries):
        return [bid_log.LoggedBid.parse(session_id, entry) for entry in entries]

    bid_log.BidLog._checked = checked


def no_results_sweep(closing) -> None:
    closing.Closing.due = lambda _: []


CONTROLS = {
    "trim-before-commit": ("core.bid_log", trim_before_commit),
    "no-offset-check": ("core.bid_log", no_offset_check),
    "bad-entry-raises": ("core.bid_log", bad_entry_raises),
    "no-lock": ("core.bid_log", no_lock),
    "weights-acked-early": ("worker.celery_app", weights_acked_early),
    "no-results-sweep": ("core.closing", no_results_sweep),
}
if os.environ.get("DRILL_CONTROL") in CONTROLS:
    sys.meta_path.insert(0, _Patcher(*CONTROLS[os.environ["DRILL_CONTROL"]]))
