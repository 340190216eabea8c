"""Disables one guard, in the drill's child processes only.

Python imports this automatically because the drill puts its folder on PYTHONPATH. The patch
named by DRILL_CONTROL is applied once the product's module has been imported.
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
        entries = self._read(session_id)
        if entries:
            self._trim(session_id, bid_log.sequence_of(entries[-1][0]))
            self._read = lambda *_, **__: entries
        try:
            return original(self, db, session_id, offset)
        finally:
            self.__dict__.pop("_read", None)

    _replace(bid_log.BidLog, "_persist_next", persist_next)


def no_offset_check(bid_log) -> None:
    """Entries committed but not yet trimmed are inserted again; the key does not prevent it."""
    _replace(bid_log, "new_entries", lambda _db, _session_id, entries: list(entries))


def no_lock(bid_log) -> None:
    """Drains of one session run concurrently; a pause makes sure that they overlap."""
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
        self._trim(session_id, batch.handled_through)
        return batch

    _replace(bid_log.BidLog, "run_once", run_once)


def weights_acked_early(celery_app) -> None:
    celery_app.app.conf.task_acks_late = False
    celery_app.app.conf.task_reject_on_worker_lost = False


def delete_unread(archiving) -> None:
    """Bids are deleted once their file is written, before it is read back and recorded."""

    def compare(self, session_id, path, _written):
        batches = list(archiving._sequences(path))
        with self._database.begin() as db:
            db.execute(
                archiving.delete(archiving.Bid).where(archiving.Bid.session_id == session_id)
            )
        return batches[0][0], batches[-1][-1]

    _replace(archiving.Archiving, "_compare", compare)


def bad_entry_raises(bid_log) -> None:
    def checked(_self, _db, session_id, due):
        return [bid_log.LoggedBid.parse(session_id, entry, place) for entry, _, place in due]

    _replace(bid_log.BidLog, "_checked", checked)


def no_results_sweep(closing) -> None:
    _replace(closing.Closing, "due", lambda _: [])


def no_catch_up(closing) -> None:
    """A tick finds only sessions that ended since the previous tick."""
    from datetime import timedelta

    original = closing.Closing.due

    def due(self):
        since = closing.clock.now(self._redis) - timedelta(seconds=1.2)
        with self._database.begin() as db:
            sessions = [db.get(closing.BiddingSession, session_id) for session_id in original(self)]
            return [session.id for session in sessions if session.end_time > since]

    _replace(closing.Closing, "due", due)


def close_unchecked(closing) -> None:
    """Each tick's close writes results; a pause makes sure that two of them overlap."""
    import time

    def write_results(self, session_id, last_sequence):
        time.sleep(2.0)
        with self._database.begin() as db:
            session = db.get(closing.BiddingSession, session_id)
            closing._require_persisted(db, session_id, last_sequence)
            db.execute(closing._WRITE_RANKINGS, {"session_id": session_id})
            session.status = closing.Status.ENDED.value
            session.closed_at = closing.clock.now(self._redis)
            session.final_price = closing._final_price(db, session)
            session.highest_bid = closing._highest_bid(db, session)
            db.add(closing.Announcement(session_id=session_id))
        return True

    _replace(closing.Closing, "close", closing.Closing._close)
    _replace(closing.Closing, "claim", lambda *_: True)
    _replace(closing.Closing, "_write_results", write_results)


def single_drain(bid_log) -> None:
    """A scheduled drain is trusted for ever, and no sweep finds leftover bids."""
    _replace(bid_log, "DRAIN_TRUST_US", 10**13)
    _replace(bid_log.BidLog, "claim_backlogged", lambda _: [])


def bids_ask_postgres(bidding) -> None:
    """The naive design: each bid reads its session and its member."""
    from sqlalchemy import text

    original = bidding.Bidding.bid

    async def bid(self, bidder, session_id, price, **asked):
        def ask():
            with self._loader._database.begin() as db:
                db.execute(text("SELECT 1 FROM sessions WHERE id = :id"), {"id": session_id})
                db.execute(text("SELECT 1 FROM users WHERE id = :id"), {"id": bidder.user_id})

        await self._background.run(ask)
        return await original(self, bidder, session_id, price, **asked)

    _replace(bidding.Bidding, "bid", bid)


def yes_on_error(bidding) -> None:
    """When Redis fails, answer with the last successful reply."""
    from redis.exceptions import RedisError

    original = bidding.Bidding._call
    last = {}

    async def call(self, session_id, bids):
        try:
            replies = await original(self, session_id, bids)
        except RedisError:
            if session_id not in last:
                raise
            reply, all_bids = last[session_id]
            sequences = range(int(reply[1]) + 1, int(reply[1]) + 1 + len(bids))
            replies = [([reply[0], number, *reply[2:]], list(all_bids)) for number in sequences]
        for reply, all_bids in replies:
            if reply[0] == bidding.Outcome.ACCEPTED:
                last[session_id] = reply, all_bids
        return replies

    _replace(bidding.Bidding, "_call", call)


def no_loss_report(losses) -> None:
    def reconcile_with_stream(db, redis, session_id, token):
        offset = db.get_one(losses.BidLogOffset, session_id)
        found = losses._read_stream(redis, session_id, token)
        if found is None or found.newest_entry > offset.persisted_sequence:
            return None
        offset.loaded_at = losses.clock.now(redis)
        return losses.LoadKind.AGAIN

    _replace(losses, "reconcile_with_stream", reconcile_with_stream)


def web_clock(scripts) -> None:
    """The caller passes its own time to the script, after the bids."""
    import time

    script = scripts.place_bids
    original = script.call
    _rewrite(script, r"redis\.call\('TIME'\)", "{ARGV[#ARGV - 1], ARGV[#ARGV]}")

    async def call(execute, keys, args):
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        return await original(execute, keys, [*args, seconds, microseconds])

    _replace(script, "call", call)


def log_in_memory(scripts) -> None:
    """Write-behind: the web process buffers bids before it logs them."""
    from threading import Thread

    from msgspec import msgpack

    script = scripts.place_bids
    original = script.call
    _rewrite(script, r"redis\.call\('XADD'.*?bid\[7\]\)\n", "")
    kept = {}

    async def call(execute, keys, args):
        all_bids, *replies = await original(execute, keys, args)
        for (user_id, *_), reply in zip(msgpack.decode(args[-1]), replies, strict=True):
            if reply[0] == scripts.Outcome.ACCEPTED:
                # Sequence first: entries are written in this order.
                kept[int(reply[1]), keys[2]] = _entry(user_id, reply)
                if len(kept) == 1:
                    Thread(target=_write_kept, args=(kept,), daemon=True).start()
        return [all_bids, *replies]

    _replace(script, "call", call)


def _entry(user_id, reply) -> list:
    """The fields of an accepted bid's log entry, flattened."""
    names = ("price", "score", "response_time", "weight", "accepted_at")
    fields = {"user_id": user_id, **dict(zip(names, reply[2:7], strict=True))}
    return [word for pair in fields.items() for word in pair]


def _write_kept(kept) -> None:
    """Write buffered bids to the log until none are left."""
    import time

    from core.config import load_settings
    from core.redis.connecting import create_redis

    redis = create_redis(load_settings())
    while kept:
        time.sleep(0.2)
        # Leaves the last ten for replies that arrive out of order.
        ready = sorted(kept)[:-10] or sorted(kept)
        for sequence, name in ready:
            redis.execute_command("XADD", name, f"{sequence}-0", *kept[sequence, name])
        for place in ready:
            del kept[place]


def offers_counted(offers) -> None:
    """Places are counted, not held; a pause makes sure that two sweeps count alike."""
    import time

    def expire_together(self, session_id, ids):
        with self._database.begin() as db:
            now = offers._now(db)
            places = offers.end_offers(db, session_id, ids, offers.OfferState.EXPIRED, now=now)
        with self._database.begin() as db:
            session = db.get(offers.BiddingSession, session_id)
            taken = offers.select(offers.func.count()).where(
                offers.Offer.session_id == session_id, offers.Offer.state.in_(["open", "paid"])
            )
            free = session.inventory - db.scalar(taken)
            time.sleep(1.0)
            offers.open_offers(db, session, range(1, free + 1), now=offers._now(db))
        return len(places)

    _replace(offers.Offers, "_expire_together", expire_together)


def cost_uncounted(passwords) -> None:
    """As many hashes at once as there are threads, each with argon2's own defaults."""
    _replace(passwords, "HASHES_AT_ONCE", 16)
    _replace(passwords, "DEFAULT_HASHER", passwords.PasswordHasher())
    passwords.Passwords.__init__.__kwdefaults__["at_once"] = passwords.HASHES_AT_ONCE


def _replace(owner, name, replacement) -> None:
    """Replace an existing attribute; fails if the guard has moved."""
    getattr(owner, name)
    setattr(owner, name, replacement)


def _rewrite(script, pattern, replacement) -> None:
    """Replace the only match in a Lua script."""
    import hashlib
    import re

    script.source, count = re.subn(pattern, replacement, script.source, flags=re.DOTALL)
    if count != 1:
        raise RuntimeError(f"{pattern} matches {count} times in the script.")
    script.sha = hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()


CONTROLS = {
    "trim-before-commit": ("core.bidlog.drain", trim_before_commit),
    "no-offset-check": ("core.bidlog.drain", no_offset_check),
    "delete-unread": ("core.operations.archiving", delete_unread),
    "bad-entry-raises": ("core.bidlog.drain", bad_entry_raises),
    "no-lock": ("core.bidlog.drain", no_lock),
    "single-drain": ("core.bidlog.drain", single_drain),
    "weights-acked-early": ("worker.celery_app", weights_acked_early),
    "no-results-sweep": ("core.sessions.closing", no_results_sweep),
    "no-catch-up": ("core.sessions.closing", no_catch_up),
    "close-unchecked": ("core.sessions.closing", close_unchecked),
    "bids-ask-postgres": ("core.bidding.placing", bids_ask_postgres),
    "yes-on-error": ("core.bidding.placing", yes_on_error),
    "no-loss-report": ("core.bidlog.losses", no_loss_report),
    "offers-counted": ("core.orders.offers", offers_counted),
    "cost-uncounted": ("core.members.passwords", cost_uncounted),
    "web-clock": ("core.redis.scripts", web_clock),
    "log-in-memory": ("core.redis.scripts", log_in_memory),
}
if os.environ.get("DRILL_CONTROL") in CONTROLS:
    sys.meta_path.insert(0, _Patcher(*CONTROLS[os.environ["DRILL_CONTROL"]]))
