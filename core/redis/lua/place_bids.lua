--[[ Places bids of one session and ranks their bidders. Each bid is decided on its own, in
     order, and all before the first write, since Redis does not roll a script back. A refused
     bid changes nothing and does not affect the others.

  KEYS[1] session:params:{sid}  hash    terms, status, window, sequence, highest_bid
  KEYS[2] ranking:{sid}         zset    ranking member -> score
  KEYS[3] bidlog:{sid}          stream  accepted bids not yet in PostgreSQL
  KEYS[4] tokens:revoked        zset    revoked token ids, disabled members, and "loaded";
                                        on a cluster tokens:revoked:{sid}
  KEYS[5..] for each bid: bid:{sid}:uid  hash    standing bid, and the rate-limit bucket
  then, for each bid:     user:weight:uid  string  weight cache; absent on a cluster

  ARGV[1] refill of a rate-limit bucket, bids per second; 0 for no limit
  ARGV[2] capacity of a bucket, bids
  ARGV[3] microseconds within which a scheduled drain is expected to start
  ARGV[4] prices:{sid}, in this slot: user id -> standing price. Used only where bids may be
          lowered, and so not in KEYS: while a slot moves, a key that does not exist would
          stop the bids of all other sessions
  ARGV[5] the bids as MessagePack, each {user id, username, price (decimal string), token id,
          weight, or "" to read the cache, true to accept it only if it scores more than the
          standing bid}. At most one bid per member: TIME is constant in a call, and (member,
          time, price) must identify a bid.

  Returns {all, reply, ...}, a reply for each bid.
    all:   {inventory, 1 if a drain must be enqueued}; empty if no bid was accepted or replayed
    reply: {outcome, ...}; outcomes: core.redis.scripts.Outcome.
      accepted, replayed: sequence, price, score, response_time, weight, accepted_at, rank
                          after the whole call
      price_below_upset:    upset price
      price_below_standing: standing price
      score_would_drop:     score of this bid, score of the standing bid
      rate_limited:         seconds until the next bid is allowed
      unreadable:           the standing bid is malformed
  Numbers are "%.17g" strings, which preserve every double for Python and PostgreSQL. The
  clock is the Redis server's, so all web processes close at one instant. ]]

local params, ranking, bidlog, revocations = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local rate, burst, trust = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local prices, bids = ARGV[4], cmsgpack.unpack(ARGV[5])
local count = #bids
local SEQUENCE_CEILING = 999999999999999
local format = string.format

local function text(number) return format('%.17g', number) end
local function member_of(sequence, user_id)
  return format('%015.0f:%s', SEQUENCE_CEILING - sequence, user_id)
end
local asked = {'loaded'}
for i, bid in ipairs(bids) do
  asked[2 * i], asked[2 * i + 1] = bid[4], bid[1]
end
local revoked = redis.call('ZMSCORE', revocations, unpack(asked))
local function denial_of(i)
  if not revoked[1] then return {'unknown_revocations'} end
  if revoked[2 * i] then return {'token_revoked'} end
  if revoked[2 * i + 1] then return {'account_disabled'} end
end

local session = redis.call('HMGET', params, 'status', 'start', 'end', 'upset_price',
  'inventory', 'alpha', 'beta', 'gamma', 'sequence', 'highest_bid', 'drain_trusted_until',
  'allow_lower_bids')
local status = session[1]
if not (revoked[1] and status) then
  local replies = {{}}
  -- Denials come first: they must not reveal whether the session exists.
  for i = 1, count do replies[i + 1] = denial_of(i) or {'unknown_session'} end
  return replies
end
-- Neither in a session that the version before has loaded: it goes on by that version's rules.
local is_binding, has_prices = session[12] == '0', session[12] == '1'
-- Fails before the first write if a moving slot has only this key elsewhere.
if has_prices then redis.call('ZCARD', prices) end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local start = tonumber(session[2])
local is_over = status == 'ended' or status == 'cancelled' or now >= tonumber(session[3])
local shut = is_over and 'session_ended'
  or status == 'inactive' and 'session_inactive'
  or now < start and 'session_not_started'
local upset_price, alpha, gamma = tonumber(session[4]), tonumber(session[6]), tonumber(session[8])
local response_time = (now - start) / 1000000
-- The same double for all bids of one instant.
local speed = tonumber(session[7]) / (response_time + 1)
local response_text, now_text = text(response_time), format('%.0f', now)
local function score_of(price, weight) return alpha * price + speed + gamma * tonumber(weight) end
local function is_ranked(member) return redis.call('ZSCORE', ranking, member) end

-- The tokens left in a member's bucket.
local function tokens_of(old)
  -- A bucket last used in the future counts as full: the clock was set back.
  if not old[7] or tonumber(old[8]) > now then return burst end
  return math.min(burst, tonumber(old[7]) + (now - tonumber(old[8])) * rate / 1000000)
end

-- Decides one bid without writing: returns a refusal, a replay, or a bid to write.
local function decide(i)
  local user_id, username, price_text, _, weight, only_if_better = unpack(bids[i])
  local denial = denial_of(i)
  if denial then return denial end
  if shut then return {shut} end
  local price = tonumber(price_text)
  if price < upset_price then return {'price_below_upset', session[4]} end

  local old = redis.call('HMGET', KEYS[4 + i], 'price', 'score', 'response_time', 'weight',
    'sequence', 'accepted_at', 'tokens', 'tokens_at')
  for field = 2, 6 do assert(not old[field] == not old[1], 'half a bid') end
  local old_member = old[1] and member_of(tonumber(old[5]), user_id)
  -- An unranked standing bid is left over from a lost session: it neither binds nor replays.
  if old_member and price <= tonumber(old[1]) and is_ranked(old_member) then
    if price == tonumber(old[1]) then
      return {'replayed', old[5], old[1], old[2], old[3], old[4], old[6], member = old_member}
    end
    if is_binding then return {'price_below_standing', old[1]} end
  end
  if only_if_better and old_member then
    local score = score_of(price, old[4])
    -- Equal scores rank by earlier acceptance, so an equal one is no better.
    if score <= tonumber(old[2]) and is_ranked(old_member) then
      return {'score_would_drop', text(score), old[2]}
    end
  end

  local tokens = tokens_of(old)
  if rate > 0 then
    if tokens < 1 then return {'rate_limited', text((1 - tokens) / rate)} end
    tokens = tokens - 1
  end
  -- The first bid fixes the weight: a recomputation does not affect an open session.
  if old_member then weight = old[4] end
  if weight == '' then
    local cache = KEYS[4 + count + i]
    weight = cache and redis.call('GET', cache)
    if not weight then return {'unknown_weight'} end
  end
  local score = score_of(price, weight)
  -- ZADD would reject it only after the log has the bid.
  assert(score < math.huge, 'no number')
  -- Fields that the member's later bids do not change.
  local fixed = old_member and {} or { 'weight', weight, 'username', username}
  return {'accepted', '', price_text, text(score), response_text, weight, now_text, value = price,
    tokens = text(tokens), user_id = user_id, key = KEYS[4 + i], old_member = old_member,
    fixed = fixed}
end

local replies, accepted, replayed = {{}}, {}, {}
for i = 1, count do
  local is_readable, reply = pcall(decide, i)
  if not is_readable then reply = {'unreadable'} end
  replies[i + 1] = reply
  if reply[1] == 'accepted' then accepted[#accepted + 1] = reply end
  if reply[1] == 'replayed' then replayed[#replayed + 1] = reply end
end
if #accepted + #replayed == 0 then return replies end

-- All writes follow, the log's first: if that fails, nothing has changed.
local drain_due = 0
if #accepted > 0 then
  local sequence, highest, highest_text = tonumber(session[9]), tonumber(session[10] or 0), session[10]
  local added, removed = {}, {}
  for i, bid in ipairs(accepted) do
    sequence = sequence + 1
    bid[2] = format('%.0f', sequence)
    redis.call('XADD', bidlog, bid[2] .. '-0', 'user_id', bid.user_id, 'price', bid[3],
      'score', bid[4], 'response_time', bid[5], 'weight', bid[6], 'accepted_at', bid[7])
    added[2 * i - 1], added[2 * i] = bid[4], member_of(sequence, bid.user_id)
    removed[#removed + 1] = bid.old_member or nil
    if bid.value > highest then highest, highest_text = bid.value, bid[3] end
  end
  if has_prices then
    local standing = {}
    for i, bid in ipairs(accepted) do standing[2 * i - 1], standing[2 * i] = bid[3], bid.user_id end
    redis.call('ZADD', prices, unpack(standing))
    highest_text = format('%.2f', redis.call('ZREVRANGE', prices, 0, 0, 'WITHSCORES')[2])
  end

  local changes = {'sequence', format('%.0f', sequence), 'highest_bid', highest_text}
  -- A mark too far ahead was set before the clock was set back.
  local trusted_until = tonumber(session[11] or 0)
  if now >= trusted_until or trusted_until > now + trust then
    drain_due = 1
    changes[5], changes[6] = 'drain_trusted_until', format('%.0f', now + trust)
  end
  redis.call('HSET', params, unpack(changes))
  -- ZADD before ZREM, so that the ranking is never empty: Redis would delete it, and cannot
  -- create it again while the slot is moving.
  redis.call('ZADD', ranking, unpack(added))
  if #removed > 0 then redis.call('ZREM', ranking, unpack(removed)) end
  for _, bid in ipairs(accepted) do
    redis.call('HSET', bid.key, 'price', bid[3], 'score', bid[4], 'response_time', bid[5],
      'sequence', bid[2], 'accepted_at', bid[7], 'tokens', bid.tokens, 'tokens_at', bid[7],
      unpack(bid.fixed))
  end
end

-- Among equal scores the newest bid comes last, so a rank is the number of scores not lower,
-- minus the newer ones of this call. ZREVRANK returns the same, but at a million bidders takes
-- three times as long, because the entries it visits are not in the CPU cache.
local newer = {}
for i = #accepted, 1, -1 do
  local score = accepted[i][4]
  local equal = newer[score] or 0
  accepted[i][8] = redis.call('ZCOUNT', ranking, score, '+inf') - equal
  newer[score] = equal + 1
end
for _, bid in ipairs(replayed) do
  bid[8] = redis.call('ZREVRANK', ranking, bid.member) + 1
end
replies[1] = {session[5], drain_due}
return replies
