--[[ Publishes a session whose standing bids are in place: from now on it takes bids.

  KEYS[1] session:load:{sid}    string  token of the process that loads the session
  KEYS[2] session:params:{sid}  hash    written here
  KEYS[3] bidlog:{sid}          stream  may outlive lost params

  ARGV[1] token   ARGV[2] highest persisted sequence   ARGV[3..] field, value, ...

  Returns {'loaded'}, or {'overtaken'} when another process holds the load or the bid
  log has entries above ARGV[2]: they must be drained first, and all be read again. ]]

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'overtaken'} end
redis.call('DEL', KEYS[1])
if redis.call('HEXISTS', KEYS[2], 'status') == 1 then return {'loaded'} end

local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
if newest and tonumber(string.match(newest[1], '^%d+')) > tonumber(ARGV[2]) then
  return {'overtaken'}
end
redis.call('HSET', KEYS[2], 'sequence', ARGV[2], unpack(ARGV, 3))
return {'loaded'}
