--[[ Restores a chunk of standing bids while their session is being loaded.

  KEYS[1] session:load:{sid}    string  token of the process that loads the session
  KEYS[2] session:params:{sid}  hash    absent until the load is complete
  KEYS[3] ranking:{sid}         zset    ranking member -> score
  KEYS[4] prices:{sid}          zset    user id -> standing price, where bids may be lowered
  KEYS[5..]                     hashes  bid:{sid}:uid, one for each bid of the chunk

  ARGV[1] token
  ARGV[2] "first" for the first chunk, which may be empty: deletes the old ranking and prices
  ARGV[3] 1 if bids may be lowered, else 0
  ARGV[4..] for each bid: user id, username, price, score, response_time, weight,
            sequence, accepted_at

  Returns {'loading'}, or {'overtaken'} if another process holds the load or has finished
  it. No bid is accepted meanwhile: params are published last. ]]

if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('HEXISTS', KEYS[2], 'status') == 1 then
  return {'overtaken'}
end
if ARGV[2] == 'first' then redis.call('UNLINK', KEYS[3], KEYS[4]) end

for i = 5, #KEYS do
  local at = 4 + (i - 5) * 8
  local user_id, score, sequence = ARGV[at], ARGV[at + 3], ARGV[at + 6]
  redis.call('ZADD', KEYS[3], score,
    string.format('%015.0f:%s', 999999999999999 - tonumber(sequence), user_id))
  if ARGV[3] == '1' then redis.call('ZADD', KEYS[4], ARGV[at + 2], user_id) end
  redis.call('HSET', KEYS[i], 'username', ARGV[at + 1], 'price', ARGV[at + 2], 'score', score,
    'response_time', ARGV[at + 4], 'weight', ARGV[at + 5], 'sequence', sequence,
    'accepted_at', ARGV[at + 7])
end
return {'loading'}
