-- GET url/id, of any of the ids in the file $BENCH_IDS.
local ids = {}
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init()
  math.randomseed(tonumber(os.getenv("BENCH_SEED")) + number)
  for line in io.lines(os.getenv("BENCH_IDS")) do ids[#ids + 1] = line end
end

function request()
  return wrk.format("GET", wrk.path .. "/" .. ids[math.random(#ids)])
end
