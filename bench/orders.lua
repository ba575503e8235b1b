-- What wrk sends: orders of random buyers, for one product or for random baskets.
-- Arguments: the file of access tokens, "hot" or "spread", the number of products, the most lines
-- of a basket, the seed. Requests are made beforehand, to leave the processor to the server.

local REQUESTS = 4096
local requests = {}
local next_request = 0

local function basket(workload, products, lines_max)
  if workload == "hot" then
    return '{"product_id":1,"quantity":1}'
  end
  local items = {}
  for line = 1, math.random(lines_max) do
    items[line] = string.format('{"product_id":%d,"quantity":1}', math.random(products))
  end
  return table.concat(items, ",")
end

function init(args)
  local tokens = {}
  for token in io.lines(args[1]) do
    tokens[#tokens + 1] = token
  end
  math.randomseed(tonumber(args[5]))
  for i = 1, REQUESTS do
    local headers = {
      ["Authorization"] = "Bearer " .. tokens[math.random(#tokens)],
      ["Content-Type"] = "application/json",
    }
    local body = '{"items":[' .. basket(args[2], tonumber(args[3]), tonumber(args[4])) .. ']}'
    requests[i] = wrk.format("POST", "/api/orders/", headers, body)
  end
end

function request()
  next_request = next_request % REQUESTS + 1
  return requests[next_request]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f}\n',
    summary.requests,
    summary.duration / 1e6,
    errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3
  ))
end
