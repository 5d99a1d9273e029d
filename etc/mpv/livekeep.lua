-- What livekeep needs within mpv.

-- A stream with sound only: the picture that follows it in the playlist is shown beside its sound. Before mpv chooses what it shows,
-- or the screen would be empty for a moment.
mp.add_hook("on_preloaded", 50, function()
    if not mp.get_property("path", ""):find("://", 1, true) then
        return
    end
    for _, track in ipairs(mp.get_property_native("track-list", {})) do
        if track.type == "video" and not track.albumart then
            return
        end
    end
    local following = mp.get_property_number("playlist-pos", -2) + 1
    local picture = mp.get_property(("playlist/%d/filename"):format(following))
    if picture then
        -- For this stream alone. To name the track by vid would hold for the next one too.
        mp.set_property("file-local-options/audio-display", "external-first")
        mp.commandv("video-add", picture, "auto", "", "", "yes")
    end
end)

-- A small copy of the picture that is shown, for the player, which judges by it whether the stream's picture moves.
-- Asked by the message livekeep-look; answers with livekeep-seen COPY SECONDS: the mean brightness of each part of the picture (its
-- green), row by row, two hexadecimal digits each, "" when there is no picture; and how long mpv worked for it.

local COLUMNS, ROWS, POINTS = 16, 9, 8

local function mean(frame, column, row)
    local sum = 0
    for y = 0, POINTS - 1 do
        local line = math.floor((row + (y + 0.5) / POINTS) * frame.h / ROWS) * frame.stride
        for x = 0, POINTS - 1 do
            -- Blue, green, red and one more; counted from 1.
            sum = sum + frame.data:byte(line + math.floor((column + (x + 0.5) / POINTS) * frame.w / COLUMNS) * 4 + 2)
        end
    end
    return math.floor(sum / (POINTS * POINTS))
end

local function copy(frame)
    local parts = {}
    for row = 0, ROWS - 1 do
        for column = 0, COLUMNS - 1 do
            parts[#parts + 1] = string.format("%02x", mean(frame, column, row))
        end
    end
    return table.concat(parts)
end

mp.register_script_message("livekeep-look", function()
    local began, used = mp.get_time(), os.clock()
    -- Not by the graphics card, which would have to hand back a whole picture.
    local before = mp.get_property_native("screenshot-sw")
    mp.set_property_native("screenshot-sw", true)
    local frame = mp.command_native({"screenshot-raw", "video"})
    mp.set_property_native("screenshot-sw", before)
    -- On a busy machine it waits rather than works.
    local seconds = math.min(mp.get_time() - began, os.clock() - used)
    mp.commandv("script-message", "livekeep-seen", frame and copy(frame) or "", tostring(seconds))
    -- 16 MB of 1080p, which would stay until the next time.
    frame = nil
    collectgarbage()
end)
