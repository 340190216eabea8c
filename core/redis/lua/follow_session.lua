--[[ Sets a session's window and status to PostgreSQL's. A session that is not in Redis needs no
     change: its next load reads them.

  KEYS[1] session:params:{sid}  hash  status, start, end

  ARGV[1] status   ARGV[2] start   ARGV[3] end, both in microseconds

  Returns {outcome}: status_set, session_ended if its gate is shut for good, unknown_session. ]]

local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {'unknown_session'} end
if status == 'ended' or status == 'cancelled' then return {'session_ended'} end
redis.call('HSET', KEYS[1], 'status', ARGV[1], 'start', ARGV[2], 'end', ARGV[3])
return {'status_set'}
