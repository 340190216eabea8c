--[[ Deletes a session's params, so that it accepts no bids until it is loaded again.

  KEYS[1] session:params:{sid}  hash    sequence
  KEYS[2] bidlog:{sid}          stream  created here, empty, if it does not exist: without
                                        params only the stream has the last sequence

  Returns {'unloaded', last sequence given out}, or {'unknown_session'}. ]]

local sequence = redis.call('HGET', KEYS[1], 'sequence')
if not sequence then return {'unknown_session'} end

if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[2], 'nobody', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[2], 'nobody')
  -- XSETID does not accept 0-0.
  if tonumber(sequence) > 0 then redis.call('XSETID', KEYS[2], sequence .. '-0') end
end
redis.call('DEL', KEYS[1])
return {'unloaded', sequence}
