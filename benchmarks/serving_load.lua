-- For wrk: posts the lines of the file $BODIES in turn, and ends in a line of JSON.
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local sent = 0

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function request()
  sent = sent + 1
  return wrk.format(nil, nil, nil, bodies[sent % #bodies + 1])
end

function done(summary, latency, requests)
  local errors = summary.errors
  local form = '\n{"requests": %d, "seconds": %.6f, "p50": %d, "p99": %d, "p999": %d, ' ..
    '"status": %d, "lost": %d}\n'
  io.write(string.format(form,
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
