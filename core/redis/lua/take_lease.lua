--[[ Takes a lease that nobody holds (core/redis/leases.py).

  KEYS[1] the lease  string  token of its holder

  ARGV[1] token   ARGV[2] milliseconds after which it lapses
  ARGV[3] what stands in the place of a token while it is only reserved

  Returns {'lease_held'}, or {'lease_taken'} when another holds it. ]]

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[3] then return {'lease_taken'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'lease_held'}
