--[[ Creates the empty bid log of a session that is being loaded and has lost nothing. From
     now on its absence shows a loss (core/bidlog/losses.py).

  KEYS[1] session:load:{sid}  string  token of the process that loads the session
  KEYS[2] bidlog:{sid}        stream  unchanged if it exists

  ARGV[1] token   ARGV[2] highest persisted sequence

  Returns {'log_made'}, or {'overtaken'} if another process holds the load. ]]

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'overtaken'} end
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[2], 'nobody', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[2], 'nobody')
  -- XSETID does not accept 0-0.
  if tonumber(ARGV[2]) > 0 then redis.call('XSETID', KEYS[2], ARGV[2] .. '-0') end
end
return {'log_made'}
