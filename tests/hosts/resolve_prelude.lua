-- What the free edition from 21.1 on gives a script of Lua: the documented calls, no io, require, os.execute, os.remove,
-- os.getenv and ffi, a print that shows nothing, and bmd.writefile. Arguments: the script, a file for what happened.

local script, log = arg[1], io.open(arg[2], "w")
local open = io.open
local project = { name = "Show", timeline = os.getenv("TIMELINE") }

local function quoted(value)
  if type(value) ~= "table" then
    return string.format(type(value) == "string" and "%q" or "%s", tostring(value))
  end
  local parts, keys = {}, {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    parts[#parts + 1] = "[" .. quoted(key) .. "] = " .. quoted(value[key])
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function object(class, methods)
  return setmetatable({}, {
    __index = function(_, name)
      if class == "Resolve" and name:match("^EXPORT_") then
        return { constant = name }
      end
      log:write(class, ".", name, "\n")
      return methods[name] or error(class .. "." .. name .. " is not there")
    end,
  })
end

local timeline = object("Timeline", {
  GetName = function() return project.timeline end,
  GetTrackCount = function(_, kind) return kind == "audio" and 2 or 1 end,
  GetTrackName = function(_, kind, index) return ({ "Audio 1", "Dialogue FR" })[index] end,
  Export = function(_, path, kind, subtype)
    if type(kind) ~= "table" or kind.constant ~= "EXPORT_OTIO" or subtype.constant ~= "EXPORT_NONE" then
      return false
    end
    local file = open(path, "w")
    file:write("{}")
    file:close()
    return true
  end,
})
resolve = object("Resolve", {
  GetProductName = function() return "DaVinci Resolve" end,
  GetProjectManager = function()
    return object("ProjectManager", {
      GetCurrentProject = function()
        return object("Project", {
          GetName = function() return project.name end,
          GetCurrentTimeline = function() return project.timeline and timeline end,
        })
      end,
    })
  end,
})
bmd = {
  writefile = function(path, value)
    local file = open(path, "w")
    file:write("return " .. quoted(value))
    file:close()
  end,
}

local run = assert(loadfile(script))
print = function() end
io, require, package, ffi, jit = nil, nil, nil, nil, nil
os.execute, os.remove, os.getenv, os.rename, os.exit = nil, nil, nil, nil, nil
run()
log:close()
