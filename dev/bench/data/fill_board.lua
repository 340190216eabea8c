--[[ Gives a session synthetic standing bids, as place_bids.lua writes them.

  KEYS[1] session:params:{sid}  hash  its sequence is set
  KEYS[2] ranking:{sid}         zset

  ARGV[1] first sequence   ARGV[2] last sequence   ARGV[3] prefix of the standing bids' keys

  The bidder of sequence n has the id dev.bench.runs.script.bidder_id(n). ]]

local now = redis.call('TIME')
local accepted_at = now[1] * 1000000 + now[2]
for sequence = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local digest = redis.sha1hex(sequence)
  local user_id = string.gsub(string.sub(digest, 1, 32), '^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)', '%1-%2-%3-%4-')
  local price = string.format('%.2f', 100 + tonumber(string.sub(digest, 1, 6), 16) / 100)
  local score = string.format('%.17g', 0.5 * tonumber(price) + 1 + 2 * 1.25)
  redis.call('ZADD', KEYS[2], score, string.format('%015.0f:%s', 999999999999999 - sequence, user_id))
  redis.call('HSET', ARGV[3] .. user_id, 'price', price, 'score', score, 'response_time', '999',
    'weight', '1.25', 'sequence', string.format('%.0f', sequence),
    'accepted_at', string.format('%.0f', accepted_at), 'username', 'bench-member',
    'tokens', '20', 'tokens_at', string.format('%.0f', accepted_at))
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2])
