-- What wrk sends: rows of stock, a thousand in each request, of a member of staff.
-- Arguments: the file with the access token, that with a body in each line, the pause in
-- milliseconds after each answer.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "requests.lua")

local pause = 0

function init(args)
  local token = io.lines(args[1])()
  local headers = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
  local bodies = {}
  for body in io.lines(args[2]) do
    bodies[#bodies + 1] = wrk.format("POST", "/api/stock/changes/", headers, body)
  end
  for i = 1, REQUESTS do
    requests[i] = bodies[(i - 1) % #bodies + 1]
  end
  pause = tonumber(args[3])
end

function delay()
  return pause
end
