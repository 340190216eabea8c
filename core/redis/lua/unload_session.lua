--[[ Throws a session's params away, so that it takes no bids until it is loaded again.

  KEYS[1] session:params:{sid}  hash    sequence
  KEYS[2] bidlog:{sid}          stream  made here, empty, where only the params are left:
                                        they know the last sequence given out, and with
                                        them gone the stream is the only witness

  Returns {'unloaded', last sequence given out}, or {'unknown_session'}. ]]

local sequence = redis.call('HGET', KEYS[1], 'sequence')
if not sequence then return {'unknown_session'} end

if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[2], 'nobody', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[2], 'nobody')
  -- 0-0 is no id that can be set.
  if tonumber(sequence) > 0 then redis.call('XSETID', KEYS[2], sequence .. '-0') end
end
redis.call('DEL', KEYS[1])
return {'unloaded', sequence}
