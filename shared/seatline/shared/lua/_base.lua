-- _base: the namespace's prefix and the server's time, read once. The first fragment of every script.
local ns = string.sub(KEYS[1], 1, -6)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
