--[[ Publishes a session whose standing bids are loaded: from now on it accepts bids.

  KEYS[1] session:load:{sid}    string  token of the process that loads the session
  KEYS[2] session:params:{sid}  hash    written here
  KEYS[3] bidlog:{sid}          stream  created here, empty, if it does not exist: its
                                        absence later shows a loss (core/bidlog/losses.py)

  ARGV[1] token   ARGV[2] highest persisted sequence   ARGV[3..] field, value, ...

  Returns {'loaded'}, or {'overtaken'} if another process holds the load or the bid log has
  had entries above ARGV[2]: drain them and start the load again. ]]

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'overtaken'} end
if redis.call('HEXISTS', KEYS[2], 'status') == 1 then return {'loaded'} end

if redis.call('EXISTS', KEYS[3]) == 1 then
  local information = redis.call('XINFO', 'STREAM', KEYS[3])
  for i = 1, #information, 2 do
    if information[i] == 'last-generated-id'
      and tonumber(string.match(information[i + 1], '^%d+')) > tonumber(ARGV[2]) then
      return {'overtaken'}
    end
  end
end
redis.call('XGROUP', 'CREATE', KEYS[3], 'nobody', '$', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[3], 'nobody')
-- XSETID does not accept 0-0.
if tonumber(ARGV[2]) > 0 then redis.call('XSETID', KEYS[3], ARGV[2] .. '-0') end
redis.call('HSET', KEYS[2], 'sequence', ARGV[2], unpack(ARGV, 3))
return {'loaded'}
