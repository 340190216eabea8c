--[[ Ends a session in Redis: no bid is accepted after this returns.

  KEYS[1] session:params:{sid}  hash  status, end, sequence

  ARGV[1] "early" to end it now, "due" to end it only when its time is over

  Returns {outcome, ...}: gate_shut: end (microseconds), last sequence given out;
  not_due; unknown_session. Shutting twice answers the same. ]]

local session = redis.call('HMGET', KEYS[1], 'status', 'end', 'sequence')
if not session[1] then return {'unknown_session'} end
if session[1] == 'ended' then return {'gate_shut', session[2], session[3]} end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ending = tonumber(session[2])
if now < ending then
  if ARGV[1] ~= 'early' then return {'not_due'} end
  ending = now
end
local ending_text = string.format('%.0f', ending)
redis.call('HSET', KEYS[1], 'status', 'ended', 'end', ending_text)
return {'gate_shut', ending_text, session[3]}
