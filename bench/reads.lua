-- What wrk sends to those who read: addresses at random, each with a token at random.
-- Arguments: the file of access tokens, the file of addresses, the seed, and how many milliseconds
-- to wait before each request (0: none); and what the clients have seen (`X-Shop-Seen`), if anything.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "requests.lua")

local wait = 0

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do
    lines[#lines + 1] = line
  end
  return lines
end

function init(args)
  local tokens, addresses = lines_of(args[1]), lines_of(args[2])
  math.randomseed(tonumber(args[3]))
  wait = tonumber(args[4])
  for i = 1, REQUESTS do
    local headers = { ["Authorization"] = "Bearer " .. tokens[math.random(#tokens)] }
    if args[5] and args[5] ~= "" then
      headers["X-Shop-Seen"] = args[5]
    end
    requests[i] = wrk.format("GET", addresses[math.random(#addresses)], headers)
  end
end

function delay()
  return wait
end
