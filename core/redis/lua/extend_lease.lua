--[[ Extends or ends a lease (core/redis/leases.py) that its holder still has.

  KEYS[1] the lease  string  its holder's token

  ARGV[1] token   ARGV[2] milliseconds until it expires; 0 ends it

  Returns {'lease_held'}, or {'lease_taken'} if it has expired or another process holds it. ]]

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lease_taken'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'lease_held'}
