-- What wrk sends beside the orders: people who sign in, each from an address of their own.
-- Arguments: how many people, and their password.

local people
local password
local next_person = 0

function init(args)
  people, password = tonumber(args[1]), args[2]
end

function request()
  next_person = next_person % people + 1
  local headers = {
    ["Content-Type"] = "application/json",
    ["X-Forwarded-For"] = "10.0.0." .. next_person,
  }
  local body = string.format('{"username":"buyer-%d","password":"%s"}', next_person, password)
  return wrk.format("POST", "/api/token/", headers, body)
end
