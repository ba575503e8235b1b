-- What wrk sends: orders of random buyers, for one product or for random baskets.
-- Arguments: the file of access tokens, "hot" or "spread", the number of products, the most lines
-- of a basket, the seed. Requests are made beforehand, to leave the processor to the server.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "requests.lua")

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
