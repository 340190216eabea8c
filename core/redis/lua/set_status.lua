--[[ Opens or pauses a session's gate. A session that is not in Redis needs no change: its
     next load reads the new status from PostgreSQL.

  KEYS[1] session:params:{sid}  hash  status, start

  ARGV[1] new status   ARGV[2] new start, microseconds

  Returns {outcome}: status_set, session_ended, unknown_session. ]]

local session = redis.call('HMGET', KEYS[1], 'status', 'end')
if not session[1] then return {'unknown_session'} end
local time = redis.call('TIME')
if session[1] == 'ended' or time[1] * 1000000 + time[2] >= tonumber(session[2]) then
  return {'session_ended'}
end
redis.call('HSET', KEYS[1], 'status', ARGV[1], 'start', ARGV[2])
return {'status_set'}
