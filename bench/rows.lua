-- What wrk sends: rows of stock, a thousand in each request, of a member of staff.
-- Arguments: the file with the access token, that with a body in each line, and every how many
-- milliseconds a request is due, of all connections together (0: as fast as they are answered).
-- What is late is made up for, so that it is as many as asked, if so many are answered, and no more.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "requests.lua")

local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *);")
local MONOTONIC = 1
local every, due = 0, nil

local function now()
  local moment = ffi.new("moment")
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.s) * 1e3 + tonumber(moment.ns) / 1e6
end

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
  every = tonumber(args[3])
end

function delay()
  if every == 0 then
    return 0
  end
  due = (due or now()) + every
  return math.max(0, math.floor(due - now()))
end
