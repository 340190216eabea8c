--[[ Places one bid and ranks its bidder. Every check stands before the first
     write: Redis does not roll a script back, so a refused bid leaves no trace.

  KEYS[1] session:params:{sid}  hash    terms, status, window, sequence, highest_bid
  KEYS[2] ranking:{sid}         zset    ranking member -> score
  KEYS[3] bid:{sid}:uid         hash    standing bid, and the rate-limit bucket
  KEYS[4] bidlog:{sid}          stream  accepted bids not yet in PostgreSQL
  KEYS[5] tokens:revoked        zset    revoked token ids, disabled members, and
                                        "loaded"; on a cluster tokens:revoked:{sid}, in the session's slot
  KEYS[6] user:weight:uid       string  weight cache; absent on a cluster

  ARGV[1] user id               ARGV[2] username
  ARGV[3] price, decimal string ARGV[4] token id
  ARGV[5] weight, or "" to read KEYS[6]
  ARGV[6] bids per second that refill the bucket, 0 for no limit
  ARGV[7] bids that the full bucket holds
  ARGV[8] microseconds for which one scheduled drain is trusted to come

  Returns {outcome, ...}; outcomes: core.scripts.Outcome.
    accepted, replayed: sequence, price, score, response_time, weight, accepted_at,
                        rank, threshold score, inventory, 1 when a drain must be enqueued
    price_below_upset:  upset price
    rate_limited:       seconds until the next bid is allowed
  Numbers cross as "%.17g" strings: every double survives the way to Python and
  PostgreSQL. The clock is this server's, so all web processes close at one instant. ]]

local params, ranking, standing, bidlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local user_id, username = ARGV[1], ARGV[2]
local SEQUENCE_CEILING = 999999999999999

local function text(number) return string.format('%.17g', number) end
local function member_of(sequence)
  return string.format('%015.0f:%s', SEQUENCE_CEILING - sequence, user_id)
end

local revoked = redis.call('ZMSCORE', KEYS[5], 'loaded', ARGV[4], user_id)
if not revoked[1] then return {'unknown_revocations'} end
if revoked[2] then return {'token_revoked'} end
if revoked[3] then return {'account_disabled'} end

local session = redis.call('HMGET', params, 'status', 'start', 'end', 'upset_price',
  'inventory', 'alpha', 'beta', 'gamma', 'sequence', 'highest_bid', 'drain_trusted_until')
local status = session[1]
if not status then return {'unknown_session'} end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local start = tonumber(session[2])
if status == 'ended' or now >= tonumber(session[3]) then return {'session_ended'} end
if status == 'inactive' then return {'session_inactive'} end
if now < start then return {'session_not_started'} end

local price = tonumber(ARGV[3])
if price < tonumber(session[4]) then return {'price_below_upset', session[4]} end

local inventory = tonumber(session[5])
local function placed(outcome, bid, rank, drain_due)
  local last = math.min(inventory, redis.call('ZCARD', ranking)) - 1
  local threshold = redis.call('ZREVRANGE', ranking, last, last, 'WITHSCORES')[2]
  return {outcome, bid.sequence, bid.price, bid.score, bid.response_time, bid.weight,
    bid.accepted_at, rank, threshold, session[5], drain_due}
end

local old = redis.call('HMGET', standing, 'price', 'score', 'response_time', 'weight',
  'sequence', 'accepted_at', 'tokens', 'tokens_at')
local has_standing = old[1]
-- A standing bid that is not ranked is a remnant of a lost session, and replayable no more.
if has_standing and tonumber(old[1]) == price
  and redis.call('ZSCORE', ranking, member_of(tonumber(old[5]))) then
  local rank = redis.call('ZREVRANK', ranking, member_of(tonumber(old[5]))) + 1
  return placed('replayed', {price = old[1], score = old[2], response_time = old[3],
    weight = old[4], sequence = old[5], accepted_at = old[6]}, rank, 0)
end

local rate, burst = tonumber(ARGV[6]), tonumber(ARGV[7])
local tokens = burst
-- A bucket last used in the future is full: the clock was set back, nobody knows how far.
if old[7] and tonumber(old[8]) <= now then
  tokens = math.min(burst, tonumber(old[7]) + (now - tonumber(old[8])) * rate / 1000000)
end
if rate > 0 then
  if tokens < 1 then return {'rate_limited', text((1 - tokens) / rate)} end
  tokens = tokens - 1
end

-- The first bid fixes the weight: recomputation never touches an open session.
local weight = has_standing and old[4] or ARGV[5]
if weight == '' then weight = KEYS[6] and redis.call('GET', KEYS[6]) end
if not weight then return {'unknown_weight'} end

local response_time = (now - start) / 1000000
local score = tonumber(session[6]) * price + tonumber(session[7]) / (response_time + 1)
  + tonumber(session[8]) * tonumber(weight)

-- From here on everything is written.
local sequence = tonumber(session[9]) + 1
local bid = {sequence = string.format('%.0f', sequence), price = ARGV[3], score = text(score),
  response_time = text(response_time), weight = weight, accepted_at = string.format('%.0f', now)}

redis.call('XADD', bidlog, bid.sequence .. '-0', 'user_id', user_id, 'price', bid.price,
  'score', bid.score, 'response_time', bid.response_time, 'weight', bid.weight,
  'accepted_at', bid.accepted_at)
if has_standing then redis.call('ZREM', ranking, member_of(tonumber(old[5]))) end
redis.call('ZADD', ranking, bid.score, member_of(sequence))
redis.call('HSET', standing, 'price', bid.price, 'score', bid.score,
  'response_time', bid.response_time, 'weight', bid.weight, 'sequence', bid.sequence,
  'accepted_at', bid.accepted_at, 'username', username,
  'tokens', text(tokens), 'tokens_at', bid.accepted_at)

local changes = {'sequence', bid.sequence}
if not session[10] or price > tonumber(session[10]) then
  changes[#changes + 1] = 'highest_bid'
  changes[#changes + 1] = bid.price
end
-- A mark further ahead than any is set was made before the clock was set back.
local drain_due, trust = 0, tonumber(ARGV[8])
local trusted_until = tonumber(session[11] or 0)
if now >= trusted_until or trusted_until > now + trust then
  drain_due = 1
  changes[#changes + 1] = 'drain_trusted_until'
  changes[#changes + 1] = string.format('%.0f', now + trust)
end
redis.call('HSET', params, unpack(changes))

-- The newest bid comes last among equal scores, so all of them count. ZREVRANK says the
-- same, but walks over entries that nothing has touched yet: three times the cost at a
-- million bidders.
local rank = redis.call('ZCOUNT', ranking, bid.score, '+inf')
return placed('accepted', bid, rank, drain_due)
