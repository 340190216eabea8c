"""API.md as data: each route with its fields, statuses and codes."""

from dataclasses import dataclass

# Fields of bodies: `?` may be left out. Fields of answers: all are always there.
ACCOUNT = "user_id username email is_admin weight created_at email_news"
ACCOUNT_WITH_TOKEN = f"{ACCOUNT} token token_type expires_in"
PRODUCT = "product_id id name description image_url created_at"
TERMS_AT_WILL = (
    "alpha? beta? gamma? allow_lower_bids? duration_minutes? start_time? pricing? offer_minutes?"
    " offers_end?"
)
TERMS = f"upset_price inventory {TERMS_AT_WILL}"
SESSION = (
    "session_id product_id name description image_url upset_price base_price inventory"
    " alpha beta gamma allow_lower_bids pricing offer_minutes offers_end currency"
    " start_time end_time status is_active final_price version cancelled_at cancel_reason"
)
MEMBER = "user_id username email is_admin weight created_at is_disabled is_erased"
OWN_OFFER = (
    "offer_id session_id product_name rank place price_to_pay currency state opened_at expires_at"
    " settled_at version"
)
OFFER = f"{OWN_OFFER} user_id username email"
SESSION_STATS = "bids_accepted bids_persisted persist_backlog"
STATS = f"total_users total_products active_sessions total_bids sessions {SESSION_STATS}"
BID = (
    "status session_id sequence price score rank response_time user_weight is_winning"
    " accepted_at replayed message"
)
BOARD = (
    "session_id status provisional leaderboard highest_bid threshold_score page page_size"
    " total_count total_pages end_time server_time"
)
STANDING = "rank score price is_winner threshold_score total_count"
ENTRY = "rank user_id username price score is_winner"
RESULT_ENTRY = f"{ENTRY} price_to_pay"
RESULTS = (
    "session_id product_id inventory status start_time end_time closed_at currency"
    " final_price total_bidders total_winners winners rankings"
)
PAST_BID = "session_id sequence price score response_time user_weight accepted_at"
NOTIFICATION = (
    "notification_id kind session_id product_name rank price price_to_pay currency is_winner"
    " message pay_by created_at read_at"
)
CHANNEL = "channel is_on waiting given_up disabled_endpoints"
CONFIGURATION = "versions redis findings confirming_replicas channels settings"
EMAIL_DELIVERY = (
    "delivery_id session_id user_id status attempts last_error created_at next_attempt_at"
    " delivered_at"
)
WEBHOOK_DELIVERY = (
    "delivery_id endpoint_id session_id event status attempts last_error created_at"
    " next_attempt_at delivered_at"
)
WEBHOOK_ENDPOINT = (
    "endpoint_id url events state state_reason state_since failing_since previous_secret_until"
    " created_at"
)
ADMIN_ACTION = "action_id created_at actor actor_id action details outcome"
SIMULATION = (
    "terms runs bids refused winners highest_bid_losses underbid_winners revenue_as_bid"
    " revenue_second_score second_worth loyalty_worth places"
)
EXPORT = (
    "export_id session_id kind format state row_count size_bytes sha256 error created_at"
    " finished_at expires_at"
)
HEALTH = "status database redis persist_backlog"
READINESS = "status"
PROBLEM = (
    "type title status detail code request_id errors? upset_price? standing_price? scope?"
    " score? standing_score? version?"
)

PAGE = "page? page_size?"
# API.md says that rankings are paged "likewise"; these fields say which page it is.
PAGE_FIELDS = "page page_size total_pages"

ANYWHERE = {"408 request_timeout", "431 bad_request", "500 internal_error"}
ANY = {"503 temporarily_unavailable", "503 overloaded"} | ANYWHERE
WITH_BODY = {
    "400 malformed_json",
    "413 body_too_large",
    "415 unsupported_media_type",
    "422 validation_failed",
}
WITH_QUERY = {"422 validation_failed"}
WITH_TOKEN = {
    "401 token_missing",
    "401 token_invalid",
    "401 token_expired",
    "401 token_revoked",
    "403 account_disabled",
    "403 scope_missing",
}
WITH_ADMIN = WITH_TOKEN | {"403 admin_required"}


@dataclass(frozen=True)
class Route:
    """One line of API.md. `codes` are those that its auth, body and query do not bring."""

    auth: str
    status: int
    answer: str = ""
    body: str = ""
    query: str = ""
    codes: str = ""
    headers: str = ""
    # Of admins, who are trusted, and of boards, which are kept, there is no limit.
    is_unlimited: bool = False

    @property
    def is_limited(self) -> bool:
        return self.auth != "admin" and not self.is_unlimited

    @property
    def all_codes(self) -> set[str]:
        return (
            ANY
            | {" ".join(pair) for pair in zip(*[iter(self.codes.split())] * 2, strict=True)}
            | (WITH_BODY if self.body else set())
            | (WITH_QUERY if self.query else set())
            | {"public": set(), "member": WITH_TOKEN, "admin": WITH_ADMIN}[self.auth]
            | ({"429 rate_limited"} if self.is_limited else set())
            | ({"422 idempotency_key_reused"} if self.is_repeatable else set())
        )

    @property
    def is_repeatable(self) -> bool:
        """Whether it takes an `Idempotency-Key`."""
        return (self.auth, self.status) == ("admin", 201)


NO_SESSION = "404 session_not_found"
NO_ACCOUNT = "404 account_not_found"
NO_ENDPOINT = "404 endpoint_not_found"
NO_OFFER = "404 offer_not_found 409 offer_expired 409 offer_settled"
IS_OVER = "409 session_ended 409 session_cancelled"
CONTRACT = {
    "POST /api/auth/register": Route(
        "public",
        201,
        ACCOUNT_WITH_TOKEN,
        body="username email password",
        codes="409 username_taken 409 email_taken",
    ),
    "POST /api/auth/login": Route(
        "public",
        200,
        ACCOUNT_WITH_TOKEN,
        body="username password",
        codes="401 invalid_credentials 403 account_disabled",
    ),
    "GET /api/auth/me": Route("member", 200, ACCOUNT),
    "PATCH /api/auth/me": Route("member", 200, ACCOUNT, body="email_news"),
    "POST /api/auth/logout": Route("member", 204),
    "POST /api/admin/products": Route("admin", 201, PRODUCT, body="name description? image_url?"),
    "GET /api/admin/products": Route("admin", 200, PRODUCT),
    "POST /api/admin/sessions": Route(
        "admin", 201, SESSION, body=f"product_id {TERMS}", codes="404 product_not_found"
    ),
    "POST /api/admin/sessions/combined": Route(
        "admin", 201, SESSION, body=f"name description? image_url? {TERMS}"
    ),
    "PUT /api/admin/sessions/{session_id}/activate": Route(
        "admin", 200, SESSION, codes=f"{NO_SESSION} {IS_OVER}"
    ),
    "PUT /api/admin/sessions/{session_id}/deactivate": Route(
        "admin", 200, SESSION, codes=f"{NO_SESSION} {IS_OVER}"
    ),
    "PUT /api/admin/sessions/{session_id}/close": Route(
        "admin", 202, SESSION, codes=f"{NO_SESSION} 409 session_cancelled"
    ),
    "GET /api/admin/sessions": Route(
        "admin", 200, SESSION, query=f"status? search? {PAGE}", headers="X-Total-Count"
    ),
    "PATCH /api/admin/sessions/{session_id}": Route(
        "admin",
        200,
        SESSION,
        body="version name? description? image_url? end_time? upset_price? inventory?"
        f" {TERMS_AT_WILL}",
        codes=f"{NO_SESSION} {IS_OVER} 409 version_conflict 409 session_already_started",
    ),
    "PUT /api/admin/sessions/{session_id}/cancel": Route(
        "admin",
        200,
        SESSION,
        body="reason version?",
        codes=f"{NO_SESSION} 409 version_conflict 409 session_ended",
    ),
    "GET /api/admin/members": Route(
        "admin", 200, MEMBER, query=f"search? {PAGE}", headers="X-Total-Count"
    ),
    "GET /api/admin/members/{user_id}": Route("admin", 200, MEMBER, codes=NO_ACCOUNT),
    "PUT /api/admin/members/{user_id}/disable": Route(
        "admin", 200, MEMBER, codes=f"{NO_ACCOUNT} 409 own_account"
    ),
    "PUT /api/admin/members/{user_id}/enable": Route("admin", 200, MEMBER, codes=NO_ACCOUNT),
    "GET /api/admin/members/{user_id}/offers": Route(
        "admin", 200, OFFER, query=PAGE, codes=NO_ACCOUNT, headers="X-Total-Count"
    ),
    "GET /api/admin/sessions/{session_id}/offers": Route(
        "admin", 200, OFFER, query=f"state? {PAGE}", codes=NO_SESSION, headers="X-Total-Count"
    ),
    "PUT /api/admin/sessions/{session_id}/offers/{offer_id}/paid": Route(
        "admin", 200, OFFER, codes=f"{NO_SESSION} {NO_OFFER}"
    ),
    "PUT /api/admin/sessions/{session_id}/offers/{offer_id}/declined": Route(
        "admin", 200, OFFER, codes=f"{NO_SESSION} {NO_OFFER}"
    ),
    "PUT /api/admin/sessions/{session_id}/offers/{offer_id}/withdrawn": Route(
        "admin", 200, OFFER, body="hand_on", codes=f"{NO_SESSION} {NO_OFFER}"
    ),
    "GET /api/offers": Route("member", 200, OWN_OFFER, query=PAGE, headers="X-Total-Count"),
    "PUT /api/offers/{offer_id}/decline": Route("member", 200, OWN_OFFER, codes=NO_OFFER),
    "GET /api/admin/channels": Route("admin", 200, CHANNEL),
    "GET /api/admin/email-deliveries": Route(
        "admin", 200, EMAIL_DELIVERY, query=f"status? {PAGE}", headers="X-Total-Count"
    ),
    "GET /api/admin/webhook-deliveries": Route(
        "admin",
        200,
        WEBHOOK_DELIVERY,
        query=f"status? endpoint_id? event? {PAGE}",
        headers="X-Total-Count",
    ),
    "POST /api/admin/webhook-deliveries/{delivery_id}/replay": Route(
        "admin", 202, WEBHOOK_DELIVERY, codes="404 delivery_not_found"
    ),
    "GET /api/admin/webhook-endpoints": Route(
        "admin", 200, WEBHOOK_ENDPOINT, query=PAGE, headers="X-Total-Count"
    ),
    "POST /api/admin/webhook-endpoints": Route("admin", 201, "endpoint secret", body="url events"),
    "PATCH /api/admin/webhook-endpoints/{endpoint_id}": Route(
        "admin",
        200,
        WEBHOOK_ENDPOINT,
        body="url? events? paused?",
        codes=f"{NO_ENDPOINT} 409 endpoint_by_setting",
    ),
    "DELETE /api/admin/webhook-endpoints/{endpoint_id}": Route(
        "admin", 204, codes=f"{NO_ENDPOINT} 409 endpoint_by_setting"
    ),
    "POST /api/admin/webhook-endpoints/{endpoint_id}/rotate-secret": Route(
        "admin", 200, "endpoint secret", codes=f"{NO_ENDPOINT} 409 endpoint_by_setting"
    ),
    "POST /api/admin/webhook-endpoints/{endpoint_id}/test": Route(
        "admin", 202, WEBHOOK_DELIVERY, codes=NO_ENDPOINT
    ),
    "POST /api/admin/simulations": Route(
        "admin",
        200,
        SIMULATION,
        body="session_id? alpha? beta? gamma? upset_price? inventory? duration_minutes? bidders?"
        " late_share? lowest_price? highest_price? largest_weight? runs? seed?",
        codes=f"{NO_SESSION} 409 session_not_ended 409 results_pending 409 session_cancelled",
    ),
    "GET /api/admin/actions": Route(
        "admin", 200, ADMIN_ACTION, query=PAGE, headers="X-Total-Count"
    ),
    "POST /api/admin/sessions/{session_id}/exports": Route(
        "admin",
        201,
        EXPORT,
        body="kind format?",
        codes=f"{NO_SESSION} 409 session_not_ended 409 results_pending 409 bids_archived",
    ),
    "GET /api/admin/exports": Route("admin", 200, EXPORT, query=PAGE, headers="X-Total-Count"),
    "GET /api/admin/exports/{export_id}": Route("admin", 200, EXPORT, codes="404 export_not_found"),
    "GET /api/admin/sessions/{session_id}/stats": Route(
        "admin", 200, SESSION_STATS, codes=NO_SESSION
    ),
    "GET /api/admin/stats": Route("admin", 200, STATS),
    "GET /api/admin/settings": Route("admin", 200, CONFIGURATION),
    "POST /api/bid": Route(
        "member",
        200,
        BID,
        body="session_id price only_if_better?",
        codes=f"{NO_SESSION} 409 session_not_started 409 session_inactive 409 session_ended"
        " 409 price_below_standing 409 score_would_drop 422 price_below_upset 429 rate_limited"
        " 503 outcome_unknown 503 backlog_full",
    ),
    "GET /api/leaderboard/{session_id}": Route(
        "public",
        200,
        BOARD,
        query=PAGE,
        # Only pages that are not cached count, in memory.
        codes=f"{NO_SESSION} 429 rate_limited",
        is_unlimited=True,
    ),
    "GET /api/leaderboard/{session_id}/me": Route(
        "member", 200, STANDING, codes=f"{NO_SESSION} 404 no_bid 409 session_cancelled"
    ),
    "GET /api/sessions": Route(
        "public", 200, SESSION, query=f"status? order? {PAGE}", headers="X-Total-Count"
    ),
    "GET /api/sessions/active": Route("public", 200, SESSION),
    "GET /api/sessions/{session_id}": Route("public", 200, SESSION, codes=NO_SESSION),
    "GET /api/results/{session_id}": Route(
        "public",
        200,
        f"{RESULTS} {PAGE_FIELDS}",
        query=f"{PAGE} format?",
        codes=f"{NO_SESSION} 409 session_not_ended 409 results_pending 409 results_too_large"
        " 409 session_cancelled",
    ),
    "GET /api/bids/me": Route(
        "member",
        200,
        PAST_BID,
        query=f"session_id? {PAGE}",
        codes=NO_SESSION,
        headers="X-Total-Count",
    ),
    "GET /api/notifications": Route(
        "member", 200, NOTIFICATION, query=f"unread? {PAGE}", headers="X-Total-Count"
    ),
    "PUT /api/notifications/{notification_id}/read": Route(
        "member", 204, codes="404 notification_not_found"
    ),
    "POST /api/notifications/read": Route("member", 204),
    "GET /api/reminders": Route(
        "member", 200, "session_id start_time name", query=PAGE, headers="X-Total-Count"
    ),
    "PUT /api/sessions/{session_id}/reminder": Route(
        "member", 204, codes=f"{NO_SESSION} {IS_OVER} 409 session_already_started"
    ),
    "DELETE /api/sessions/{session_id}/reminder": Route("member", 204, codes=NO_SESSION),
    "GET /ws/{session_id}": Route("public", 101, codes="426 upgrade_required", is_unlimited=True),
    "GET /health": Route("public", 200, HEALTH),
    "GET /ready": Route("public", 200, READINESS, is_unlimited=True),
}
# Answered in the text format of Prometheus (tests/api/routes/test_metrics.py).
TEXTS = {"GET /metrics", "GET /api/admin/exports/{export_id}/file"}
# A health check answers the same whether the servers are there or not.
HEALTH_CHECK = "GET /health"
# Codes of answers at addresses where there is no operation to hang them on.
NOWHERE = {"not_found", "method_not_allowed", "bad_request"}
RETRY_LATER = {"rate_limited", "results_pending", "temporarily_unavailable"}
