--[[ Reads one page of a session's board, consistently. Writes nothing.

  KEYS[1] session:params:{sid}  hash  terms, status, window, highest_bid
  KEYS[2] ranking:{sid}         zset  ranking member -> score

  ARGV[1] prefix of the standing bids' keys (bid:{sid}:), all in this slot
  ARGV[2] index of the page's first entry, from 0   ARGV[3] index of its last

  Returns {outcome, ...}; outcomes: core.redis.scripts.Outcome.
    board: status, start, end, now (microseconds), inventory, highest bid or false,
           total count, threshold score or false,
           then {user id, username, price, score} for each entry ]]

local session = redis.call('HMGET', KEYS[1], 'status', 'start', 'end', 'inventory',
  'highest_bid', 'final')
if not session[1] then return {'unknown_session'} end
if session[6] or session[1] == 'cancelled' then return {'final'} end

local time = redis.call('TIME')
local count = redis.call('ZCARD', KEYS[2])
local last = math.min(tonumber(session[4]), count) - 1
local threshold = count > 0 and redis.call('ZREVRANGE', KEYS[2], last, last, 'WITHSCORES')[2]

local board = {'board', session[1], session[2], session[3],
  string.format('%.0f', time[1] * 1000000 + time[2]), session[4], session[5], count, threshold}
local page = redis.call('ZREVRANGE', KEYS[2], ARGV[2], ARGV[3], 'WITHSCORES')
for i = 1, #page, 2 do
  local user_id = string.sub(page[i], 17)
  local bid = redis.call('HMGET', ARGV[1] .. user_id, 'username', 'price', 'score')
  board[#board + 1] = {user_id, bid[1], bid[2], bid[3]}
end
return board
