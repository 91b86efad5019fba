//! What has to happen in one step runs as a script in Redis.

use std::sync::LazyLock;

use redis::Script;

pub(super) static ADVANCE: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = r"
local stored = 0
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'string' then
  local understood, value = pcall(cjson.decode, text)
  if understood and type(value) == 'table' and type(value.version) == 'number' then
    stored = value.version
  end
end
if stored > tonumber(ARGV[2]) + tonumber(ARGV[5]) then
  stored = 0
end
if stored < tonumber(ARGV[1]) then
  return string.format('%.0f', stored)
end
if stored < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return false
";
    (Script::new(code), code)
});

pub(super) static SET_VERSIONED: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = r"
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'string' then
  local understood, value = pcall(cjson.decode, stored)
  if understood and type(value) == 'table' then
    local retired = type(value.retired_generation) == 'number' and value.retired_generation or 0
    local version = type(value.version) == 'number' and value.version or 0
    local given = tonumber(ARGV[4])
    if value.revoked ~= nil or retired > given or retired == given and version > tonumber(ARGV[1]) then
      return 0
    end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
";
    (Script::new(code), code)
});

/// The step of `limits::gcra`, in microseconds. A clock that was set back leaves times behind that lie too far ahead;
/// they are cut also when nothing is taken, or they would refuse until the clock has caught up.
pub(super) static TAKE: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = now
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'string' then
  local stored = tonumber(text)
  if stored and stored > now then
    full_at = stored
  end
end
local is_cut = full_at > now + capacity
if is_cut then
  full_at = now + capacity
end
local wait = full_at + interval - capacity - now
if wait <= 0 then
  wait = 0
  full_at = full_at + interval
elseif not is_cut then
  return wait
end
local left = math.ceil((full_at - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', string.format('%.0f', left))
return wait
";
    (Script::new(code), code)
});
