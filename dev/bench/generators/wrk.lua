--[[ The requests that wrk sends, and what it reports. Used by dev/bench/generators/generators.py.

  Arguments after "--": method, path, host, session ids with commas between, first price in cents, seconds
  to send for, number of threads, the file of tokens, one a line ("" for none), and more
  headers, one a line.

  Every POST carries another price, so that no bid is a replay. Sending stops before
  wrk does: an answer that comes after wrk has stopped would be a bid that nobody counted. ]]

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]
local MONOTONIC = 1
local time = ffi.new("bench_time")

local function now()
  ffi.C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local threads_made = 0
function setup(thread)
  thread:set("number", threads_made)
  threads_made = threads_made + 1
end

local heads, get, sessions, cents, step, seconds, stop_at
local turn

local function read_tokens(path)
  local tokens = {}
  if path ~= "" then
    for token in io.lines(path) do tokens[#tokens + 1] = token end
  end
  return tokens
end

local function body()
  -- The turn of a thread goes up by the number of threads.
  local session = sessions[math.floor(turn / step) % #sessions + 1]
  return string.format('{"session_id":"%s","price":%.2f}', session, cents / 100)
end

function init(args)
  local method, path, host = args[1], args[2], args[3]
  sessions = {}
  for session in args[4]:gmatch("[^,]+") do sessions[#sessions + 1] = session end
  turn, cents = number, tonumber(args[5]) + number
  seconds, step = tonumber(args[6]), tonumber(args[7])
  local start = string.format("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host) ..
    args[9]:gsub("\n", "\r\n")
  heads = {}
  for place, token in ipairs(read_tokens(args[8])) do
    heads[place] = start .. "Authorization: Bearer " .. token ..
      "\r\nContent-Type: application/json\r\nContent-Length: " .. #body() .. "\r\n\r\n"
  end
  if #heads == 0 then get = start .. "\r\n" end
end

function request()
  local moment = now()
  stop_at = stop_at or moment + seconds
  -- wrk takes an empty request for sent, and then waits on this connection for good.
  if moment >= stop_at then return "" end
  if get then return get end
  turn, cents = turn + step, cents + step
  return heads[turn % #heads + 1] .. body()
end

function done(summary)
  local errors = summary.errors
  io.write(string.format('\nBENCH {"answers": %d, "refused": %d, "broken": %d}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write))
end
