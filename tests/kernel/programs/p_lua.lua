-- lua: tables, strings, coroutines, the garbage collector, files and pipes.
local primes, sieve = 0, {} for i = 2, 100000 do if not sieve[i] then primes = primes + 1 for j = i * i, 100000, i do sieve[j] = true end end end print(primes)
local words = {} for w in ("the quick brown fox jumps over the lazy dog the end"):gmatch("%a+") do words[w] = (words[w] or 0) + 1 end
local keys = {} for k in pairs(words) do keys[#keys + 1] = k end table.sort(keys) print(#keys, words.the, table.concat(keys, ","))
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * i) end return "done" end) print(co(), co(), co(), co())
local big = {} for i = 1, 300 do big[i] = ("x"):rep(i * 1000) end local n = 0 for i = 1, 300 do n = n + #big[i] end print(n) big = nil collectgarbage() print(collectgarbage("count") < 20000)
local name = os.tmpname() local f = assert(io.open(name, "w")) for i = 1, 1000 do f:write(i, "\n") end f:close() local s = 0 for l in io.lines(name) do s = s + tonumber(l) end print(s, os.remove(name))
local p = io.popen("sort -rn | head -1", "w") for i = 1, 50 do p:write(i, "\n") end print(p:close()) print(io.popen("seq 3"):read("a"))
print(string.format("%5.2f %q %x", math.pi, "a\nb", 255), ("hello"):gsub("l", "L"), utf8.len("äö"), 7 // 2, 7 % -3, 2 ^ 10, 1 << 40, "10" + 5)
print(pcall(error, { code = 1 }), select("#", nil, nil), os.date("!%Y-%m-%d", 0), string.pack("<i4", 7):byte(1, -1)) print(os.execute("kill -9 $$"))
