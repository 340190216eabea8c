--[[ Ends or cancels a session in Redis: no bid is accepted after this returns.

  KEYS[1] session:params:{sid}  hash  status, end, sequence

  ARGV[1] "early" to end it now, "due" to end it only if its end has passed, "cancelled" to
          cancel it now
  ARGV[2] its end by PostgreSQL, microseconds. It holds unless the session is over here:
          Redis may not have got a later end yet, or be restored from before an early one

  Returns {outcome, ...}: gate_shut: end (microseconds), last sequence given out;
  not_due; unknown_session. A repeated call returns the same. ]]

local session = redis.call('HMGET', KEYS[1], 'status', 'end', 'sequence')
if not session[1] then return {'unknown_session'} end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ending = tonumber(ARGV[2])
if session[1] == 'ended' or session[1] == 'cancelled' then
  ending = math.min(tonumber(session[2]), ending)
elseif now < ending then
  if ARGV[1] == 'due' then return {'not_due'} end
  ending = now
end
local ending_text = string.format('%.0f', ending)
local status = 'ended'
if ARGV[1] == 'cancelled' then status = ARGV[1] end
redis.call('HSET', KEYS[1], 'status', status, 'end', ending_text)
return {'gate_shut', ending_text, session[3]}
