--[[ Extends a lease (core/redis/leases.py), or ends it, while it is still its holder's.

  KEYS[1] the lease  string  token of its holder

  ARGV[1] token   ARGV[2] milliseconds from now after which it lapses; 0 ends it

  Returns {'lease_held'}, or {'lease_taken'} when it has lapsed or is another's by now. ]]

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lease_taken'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'lease_held'}
