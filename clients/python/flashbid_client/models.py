"""The API's bodies and answers. Written by `make client`."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Entry:
    rank: int
    user_id: str
    username: str
    price: float
    score: float
    is_winner: bool


@dataclass(frozen=True, kw_only=True)
class Board:
    session_id: str
    status: Literal['scheduled', 'active', 'inactive', 'ended', 'cancelled']
    provisional: bool
    leaderboard: list[Entry]
    highest_bid: float | None
    threshold_score: float | None
    page: int
    page_size: int
    total_count: int
    total_pages: int
    end_time: str
    server_time: str


@dataclass(frozen=True, kw_only=True)
class BoardUpdate:
    type: Literal['leaderboard_update']
    data: Board


@dataclass(frozen=True, kw_only=True)
class ResultEntry:
    rank: int
    user_id: str
    username: str
    price: float
    score: float
    is_winner: bool
    price_to_pay: float | None


@dataclass(frozen=True, kw_only=True)
class FinalResults:
    session_id: str
    product_id: str
    inventory: int
    status: Literal['scheduled', 'active', 'inactive', 'ended', 'cancelled']
    start_time: str
    end_time: str
    closed_at: str
    currency: str
    final_price: float | None
    total_bidders: int
    total_winners: int
    winners: list[ResultEntry]


@dataclass(frozen=True, kw_only=True)
class SessionEnded:
    type: Literal['session_ended']
    data: FinalResults


@dataclass(frozen=True, kw_only=True)
class Registration:
    username: str
    email: str
    password: str


@dataclass(frozen=True, kw_only=True)
class AccountWithToken:
    user_id: str
    username: str
    email: str
    is_admin: bool
    weight: float
    created_at: str
    email_news: bool
    token: str
    token_type: Literal['Bearer']
    expires_in: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: dict[str, Any] | None = None
    upset_price: float | None = None
    standing_price: float | None = None
    scope: str | None = None
    score: float | None = None
    standing_score: float | None = None
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Login:
    username: str
    password: str


@dataclass(frozen=True, kw_only=True)
class Account:
    user_id: str
    username: str
    email: str
    is_admin: bool
    weight: float
    created_at: str
    email_news: bool


@dataclass(frozen=True, kw_only=True)
class AccountChanges:
    email_news: bool


@dataclass(frozen=True, kw_only=True)
class NewProduct:
    name: str
    description: str | None = None
    image_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Product:
    product_id: str
    id: str
    name: str
    description: str | None
    image_url: str | None
    created_at: str


@dataclass(frozen=True, kw_only=True)
class NewSession:
    upset_price: float
    inventory: int
    product_id: str
    alpha: float | None = 0.5
    beta: float | None = 1000.0
    gamma: float | None = 2.0
    allow_lower_bids: bool | None = None
    duration_minutes: float | None = 60.0
    start_time: str | None = None
    pricing: Literal['pay_as_bid', 'second_score'] | None = 'pay_as_bid'
    offer_minutes: float | None = 1440.0
    offers_end: str | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    session_id: str
    product_id: str
    name: str
    description: str | None
    image_url: str | None
    upset_price: float
    base_price: float
    inventory: int
    alpha: float
    beta: float
    gamma: float
    allow_lower_bids: bool
    pricing: Literal['pay_as_bid', 'second_score']
    offer_minutes: float
    offers_end: str | None
    currency: str
    start_time: str
    end_time: str
    status: Literal['scheduled', 'active', 'inactive', 'ended', 'cancelled']
    is_active: bool
    final_price: float | None
    version: int
    cancelled_at: str | None
    cancel_reason: str | None


@dataclass(frozen=True, kw_only=True)
class NewProductAndSession:
    upset_price: float
    inventory: int
    name: str
    alpha: float | None = 0.5
    beta: float | None = 1000.0
    gamma: float | None = 2.0
    allow_lower_bids: bool | None = None
    duration_minutes: float | None = 60.0
    start_time: str | None = None
    pricing: Literal['pay_as_bid', 'second_score'] | None = 'pay_as_bid'
    offer_minutes: float | None = 1440.0
    offers_end: str | None = None
    description: str | None = None
    image_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class SessionChanges:
    version: int
    upset_price: float | None = None
    inventory: int | None = None
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    allow_lower_bids: bool | None = None
    duration_minutes: float | None = None
    start_time: str | None = None
    pricing: Literal['pay_as_bid', 'second_score'] | None = None
    offer_minutes: float | None = None
    offers_end: str | None = None
    name: str | None = None
    description: str | None = None
    image_url: str | None = None
    end_time: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cancellation:
    reason: str
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class SessionStats:
    bids_accepted: int
    bids_persisted: int
    persist_backlog: int


@dataclass(frozen=True, kw_only=True)
class Member:
    user_id: str
    username: str
    email: str
    is_admin: bool
    weight: float
    created_at: str
    is_disabled: bool
    is_erased: bool


@dataclass(frozen=True, kw_only=True)
class Stats:
    bids_accepted: int
    bids_persisted: int
    persist_backlog: int
    total_users: int
    total_products: int
    active_sessions: int
    total_bids: int
    sessions: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RedisNode:
    version: str
    maxmemory_policy: str | None
    appendonly: bool
    appendfsync: str | None
    can_append: bool


@dataclass(frozen=True, kw_only=True)
class Configuration:
    versions: dict[str, str]
    redis: list[RedisNode]
    findings: list[str]
    confirming_replicas: int
    channels: dict[str, bool]
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NewSimulation:
    session_id: str | None = None
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    upset_price: float | None = None
    inventory: int | None = None
    duration_minutes: float | None = 60.0
    bidders: int | None = 500
    late_share: float | None = 0.2
    lowest_price: float | None = 100.0
    highest_price: float | None = 300.0
    largest_weight: float | None = 2.0
    runs: int | None = 20
    seed: int | None = 1


@dataclass(frozen=True, kw_only=True)
class SimulatedTerms:
    alpha: float
    beta: float
    gamma: float
    upset_price: float
    inventory: int


@dataclass(frozen=True, kw_only=True)
class SecondWorth:
    response_time: float
    worth: float | None


@dataclass(frozen=True, kw_only=True)
class SimulatedPlace:
    rank: int
    sequence: int
    price: float
    score: float
    response_time: float
    user_weight: float
    is_winner: bool
    second_price: float | None


@dataclass(frozen=True, kw_only=True)
class Simulation:
    terms: SimulatedTerms
    runs: int
    bids: int
    refused: int
    winners: int
    highest_bid_losses: int
    underbid_winners: int
    revenue_as_bid: float
    revenue_second_score: float
    second_worth: list[SecondWorth]
    loyalty_worth: float | None
    places: list[SimulatedPlace]


@dataclass(frozen=True, kw_only=True)
class Channel:
    channel: Literal['email', 'webhook']
    is_on: bool
    waiting: int
    given_up: int
    disabled_endpoints: int


@dataclass(frozen=True, kw_only=True)
class EmailDelivery:
    delivery_id: str
    session_id: str
    user_id: str
    status: Literal['waiting', 'delivered', 'given_up']
    attempts: int
    last_error: str | None
    created_at: str
    next_attempt_at: str | None
    delivered_at: str | None


@dataclass(frozen=True, kw_only=True)
class AdminAction:
    action_id: int
    created_at: str
    actor: str
    actor_id: str | None
    action: str
    details: dict[str, Any]
    outcome: Literal['asked', 'done', 'refused', 'failed']


@dataclass(frozen=True, kw_only=True)
class BidRequest:
    session_id: str
    price: float
    only_if_better: bool | None = False


@dataclass(frozen=True, kw_only=True)
class PlacedBid:
    status: Literal['accepted']
    session_id: str
    sequence: int
    price: float
    score: float
    rank: int
    response_time: float
    user_weight: float
    is_winning: bool
    accepted_at: str
    replayed: bool
    message: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    rank: int
    score: float
    price: float
    is_winner: bool
    threshold_score: float
    total_count: int


@dataclass(frozen=True, kw_only=True)
class Results:
    session_id: str
    product_id: str
    inventory: int
    status: Literal['scheduled', 'active', 'inactive', 'ended', 'cancelled']
    start_time: str
    end_time: str
    closed_at: str
    currency: str
    final_price: float | None
    total_bidders: int
    total_winners: int
    winners: list[ResultEntry]
    rankings: list[ResultEntry]
    page: int
    page_size: int
    total_pages: int


@dataclass(frozen=True, kw_only=True)
class OwnBid:
    session_id: str
    sequence: int
    price: float
    score: float
    response_time: float
    user_weight: float
    accepted_at: str


@dataclass(frozen=True, kw_only=True)
class NewExport:
    kind: Literal['results', 'bids', 'offers']
    format: Literal['csv', 'ndjson'] | None = 'csv'


@dataclass(frozen=True, kw_only=True)
class Export:
    export_id: str
    session_id: str
    kind: Literal['results', 'bids', 'offers']
    format: Literal['csv', 'ndjson']
    state: Literal['waiting', 'running', 'done', 'failed']
    row_count: int | None
    size_bytes: int | None
    sha256: str | None
    error: str | None
    created_at: str
    finished_at: str | None
    expires_at: str


@dataclass(frozen=True, kw_only=True)
class Notification:
    notification_id: str
    kind: Literal['session_ended', 'session_cancelled', 'offer_opened', 'offer_ended', 'outbid', 'starting', 'webhook_disabled']
    session_id: str | None
    product_name: str | None
    rank: int | None
    price: float | None
    price_to_pay: float | None
    currency: str | None
    is_winner: bool
    message: str
    pay_by: str | None
    created_at: str
    read_at: str | None


@dataclass(frozen=True, kw_only=True)
class Reminder:
    session_id: str
    start_time: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    offer_id: str
    session_id: str
    product_name: str
    rank: int
    place: int
    price_to_pay: float | None
    currency: str
    state: Literal['open', 'paid', 'declined', 'expired', 'withdrawn']
    opened_at: str
    expires_at: str
    settled_at: str | None
    version: int
    user_id: str
    username: str
    email: str | None


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    hand_on: bool


@dataclass(frozen=True, kw_only=True)
class OwnOffer:
    offer_id: str
    session_id: str
    product_name: str
    rank: int
    place: int
    price_to_pay: float | None
    currency: str
    state: Literal['open', 'paid', 'declined', 'expired', 'withdrawn']
    opened_at: str
    expires_at: str
    settled_at: str | None
    version: int


@dataclass(frozen=True, kw_only=True)
class Health:
    status: Literal['healthy', 'degraded']
    database: Literal['ok', 'unreachable', 'read_only', 'schema_missing', 'schema_outdated', 'schema_unknown']
    redis: Literal['ok', 'partly_unreachable', 'refusing', 'unreachable']
    persist_backlog: Literal['ok', 'half_full', 'full', 'unknown']


@dataclass(frozen=True, kw_only=True)
class Readiness:
    status: Literal['ready']


@dataclass(frozen=True, kw_only=True)
class WebhookEndpoint:
    endpoint_id: str
    url: str | None
    events: list[str]
    state: Literal['enabled', 'paused', 'disabled']
    state_reason: str | None
    state_since: str
    failing_since: str | None
    previous_secret_until: str | None
    created_at: str


@dataclass(frozen=True, kw_only=True)
class NewWebhookEndpoint:
    url: str
    events: list[Literal['session.created', 'session.started', 'session.ended', 'session.cancelled', 'offer.opened', 'offer.paid', 'offer.declined', 'offer.expired', 'offer.withdrawn', 'bids.lost']]


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointSecret:
    endpoint: WebhookEndpoint
    secret: str | None


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointChange:
    url: str | None = None
    events: list[Literal['session.created', 'session.started', 'session.ended', 'session.cancelled', 'offer.opened', 'offer.paid', 'offer.declined', 'offer.expired', 'offer.withdrawn', 'bids.lost']] | None = (
        None
    )
    paused: bool | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery:
    delivery_id: str
    endpoint_id: str | None
    session_id: str | None
    event: str
    status: Literal['waiting', 'delivered', 'given_up']
    attempts: int
    last_error: str | None
    created_at: str
    next_attempt_at: str | None
    delivered_at: str | None
