-- What scripts for wrk share: requests that are made beforehand, and what became of them in JSON.
-- A script loads this by `dofile` and fills `requests` with `REQUESTS` of them.

REQUESTS = 4096
requests = {}

local next_request = 0

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
