--[[ Reads one member's standing bid and place. Writes nothing.

  KEYS[1] session:params:{sid}  hash  inventory, status
  KEYS[2] ranking:{sid}         zset  ranking member -> score
  KEYS[3] bid:{sid}:uid         hash  standing bid

  ARGV[1] user id

  Returns {outcome, ...}; outcomes: core.redis.scripts.Outcome.
    standing: rank, score, price, inventory, threshold score, total count ]]

local session = redis.call('HMGET', KEYS[1], 'inventory', 'final', 'status')
if not session[1] then return {'unknown_session'} end
if session[2] or session[3] == 'cancelled' then return {'final'} end

local bid = redis.call('HMGET', KEYS[3], 'sequence', 'score', 'price')
if not bid[1] then return {'no_bid'} end

local member = string.format('%015.0f:%s', 999999999999999 - tonumber(bid[1]), ARGV[1])
local rank = redis.call('ZREVRANK', KEYS[2], member)
if not rank then return {'no_bid'} end
local count = redis.call('ZCARD', KEYS[2])
local last = math.min(tonumber(session[1]), count) - 1
return {'standing', rank + 1, bid[2], bid[3], session[1],
  redis.call('ZREVRANGE', KEYS[2], last, last, 'WITHSCORES')[2], count}
