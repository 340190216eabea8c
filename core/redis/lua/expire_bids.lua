--[[ Sets the expiry of a chunk of an ended session's standing bids. One call for many keys,
     few enough not to delay bids in other sessions.

  KEYS[1] ranking:{sid}  zset  ranking member -> score

  ARGV[1] prefix of the standing bids' keys (bid:{sid}:), all in this slot
  ARGV[2] index of the chunk's first member, from 0   ARGV[3] index of its last
  ARGV[4] seconds to live

  Returns {'expiring', number of members in the chunk}. ]]

local members = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])
for _, member in ipairs(members) do
  redis.call('EXPIRE', ARGV[1] .. string.sub(member, 17), ARGV[4])
end
return {'expiring', #members}
