-- Visual Dub in the free edition of DaVinci Resolve from 21.1 on, which runs no Python from its menu.
-- Written by `vdub install resolve`. Experimental: it exports the open timeline and leaves a request beside it.
--
-- Lua runs there without io, require, os.execute, os.remove and os.getenv, and what it prints is not shown. So the
-- folder is written in here, and the request is written by bmd.writefile, as a Lua table. Then, in a terminal:
--   vdub dub FOLDER/NAME.otio --for resolve --dialogue-track TRACK --actor ACTOR -o FOLDER/NAME
-- and in Resolve: File > Import > Timeline, FOLDER/NAME/NAME.otio.

local folder = "@FOLDER@"

local function safe(name)
  local plain = name:gsub("[^%w_.-]+", "_"):gsub("^[_.]+", ""):sub(1, 60)
  return plain ~= "" and plain or "timeline"
end

local function export(app)
  local project = app:GetProjectManager():GetCurrentProject()
  local timeline = project and project:GetCurrentTimeline()
  if not timeline then
    return "no timeline is open"
  end
  local name = safe(timeline:GetName())
  local path = folder .. "/" .. name .. ".otio"
  -- the live constants: a text in their place would be refused without a word
  if not timeline:Export(path, app.EXPORT_OTIO, app.EXPORT_NONE) then
    return "Resolve does not export the timeline as OTIO"
  end
  local tracks = {}
  for i = 1, timeline:GetTrackCount("audio") do
    tracks[i] = timeline:GetTrackName("audio", i)
  end
  bmd.writefile(folder .. "/" .. name .. ".request", {
    version = 1,
    edit = path,
    timeline = timeline:GetName(),
    project = project:GetName(),
    product = app:GetProductName(),
    sound_tracks = tracks,
  })
end

local problem = export(resolve)
if problem then
  bmd.writefile(folder .. "/problem.request", { version = 1, problem = problem })
end
