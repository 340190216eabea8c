--[[ Replaces the name on a standing bid. A bid that is not in Redis stays absent.

  KEYS[1] bid:{sid}:uid  hash  standing bid

  ARGV[1] new username

  Returns {outcome}: renamed, no_bid. ]]

if redis.call('HEXISTS', KEYS[1], 'username') == 0 then return {'no_bid'} end
redis.call('HSET', KEYS[1], 'username', ARGV[1])
return {'renamed'}
