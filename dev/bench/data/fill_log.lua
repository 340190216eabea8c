--[[ Appends synthetic bids to a session's bid log, as place_bids.lua writes them.

  KEYS[1] session:params:{sid}  hash    its sequence is set
  KEYS[2] bidlog:{sid}          stream

  ARGV[1] first sequence   ARGV[2] last sequence   ARGV[3] number of bidders ]]

local now = redis.call('TIME')
local accepted_at = now[1] * 1000000 + now[2]
for sequence = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local digest = redis.sha1hex(sequence % tonumber(ARGV[3]))
  local user_id = string.gsub(string.sub(digest, 1, 32), '^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)', '%1-%2-%3-%4-')
  local price = 100 + sequence / 100
  local response_time = sequence / 1234.5
  redis.call('XADD', KEYS[2], string.format('%.0f-0', sequence), 'user_id', user_id,
    'price', string.format('%.2f', price),
    'score', string.format('%.17g', 0.5 * price + 1000 / (response_time + 1) + 2 * 1.25),
    'response_time', string.format('%.17g', response_time), 'weight', '1.25',
    'accepted_at', string.format('%.0f', accepted_at + sequence))
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2])
