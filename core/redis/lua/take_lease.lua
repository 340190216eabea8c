--[[ Takes a free or reserved lease (core/redis/leases.py).

  KEYS[1] the lease  string  its holder's token

  ARGV[1] token   ARGV[2] milliseconds until it expires
  ARGV[3] the value of a lease that is only reserved

  Returns {'lease_held'}, or {'lease_taken'} if another process holds it. ]]

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[3] then return {'lease_taken'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'lease_held'}
