-- GET url/id, over the ids in the file $BENCH_IDS.
local ids = {}
local place = 0

function init()
  for line in io.lines(os.getenv("BENCH_IDS")) do ids[#ids + 1] = line end
  place = math.random(#ids)
end

function request()
  place = place % #ids + 1
  return wrk.format("GET", wrk.path .. "/" .. ids[place])
end
