-- What wrk sends beside orders: each connection places an order for the hot product, amends one that
-- is there to be amended, or cancels one that was. All orders are of one buyer.
-- Arguments: the file of access tokens.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "requests.lua")

local headers = { ["Content-Type"] = "application/json" }
local to_amend, to_cancel = {}, {}

function init(args)
  headers["Authorization"] = "Bearer " .. io.lines(args[1])()
end

local function basket(quantity)
  return '{"items":[{"product_id":1,"quantity":' .. quantity .. '}]}'
end

function request()
  if #to_cancel > 0 then
    return wrk.format("POST", table.remove(to_cancel) .. "cancel/", headers, "{}")
  end
  if #to_amend > 0 then
    return wrk.format("PATCH", table.remove(to_amend), headers, basket(2))
  end
  return wrk.format("POST", "/api/orders/", headers, basket(1))
end

function response(status, _, body)
  local path = "/api/orders/" .. (body:match('"id":"([-%x]+)"') or "") .. "/"
  if status == 201 then
    to_amend[#to_amend + 1] = path
  elseif status == 200 and body:match('"status":"placed"') then
    to_cancel[#to_cancel + 1] = path
  end
end
