-- torch.nn.vision: channels to pixels and back, and changes of resolution.
local torch = require "torch"
local layer = require "torch.nn.layer"
local F = torch.nn.functional

local M = {}

layer.define(M, "PixelShuffle(upscale_factor: int)", {
  doc = "Channels turned into pixels: [*, c*r*r, h, w] to [*, c, h*r, w*r].",
  example = "nn.PixelShuffle(2)(torch.ones(1, 4, 1, 1)).shape", see = "nn.PixelUnshuffle",
  forward = function(self, x) return F.pixel_shuffle(x, self.upscale_factor) end, extra = "upscale_factor={upscale_factor}",
})
layer.define(M, "PixelUnshuffle(downscale_factor: int)", {
  doc = "The inverse of PixelShuffle.", example = "nn.PixelUnshuffle(2)(torch.ones(1, 1, 2, 2)).shape", see = "nn.PixelShuffle",
  forward = function(self, x) return F.pixel_unshuffle(x, self.downscale_factor) end,
  extra = "downscale_factor={downscale_factor}",
})
layer.define(M, "ChannelShuffle(groups: int)", {
  doc = "Channels of groups interleaved.", example = "nn.ChannelShuffle(2)(torch.ones(1, 4, 1, 1)).shape",
  forward = function(self, x) return F.channel_shuffle(x, self.groups) end, extra = "groups={groups}",
})

layer.define(M, "Upsample(size: any = None, scale_factor: any = None, mode: str = 'nearest', align_corners: any = None, recompute_scale_factor: any = None)", {
  doc = "A change of resolution: mode nearest, linear, bilinear, bicubic, trilinear.",
  example = "nn.Upsample{scale_factor = 2}(torch.ones(1, 1, 2, 2)).shape", see = "F.interpolate",
  init = function(self, a)
    self.size, self.mode, self.align_corners = a.size, a.mode, a.align_corners
    self.recompute_scale_factor = a.recompute_scale_factor
    local s = a.scale_factor
    if type(s) == "table" then
      local list = {}
      for i, v in ipairs(s) do list[i] = v + 0.0 end
      s = list
    elseif s then s = s + 0.0 end
    self.scale_factor = s
  end,
  forward = function(self, x)
    return F.interpolate(x, { size = self.size, scale_factor = self.scale_factor, mode = self.mode,
      align_corners = self.align_corners, recompute_scale_factor = self.recompute_scale_factor })
  end,
  methods = {
    extra_repr = function(self)
      local fill = require("torch.nn.text").fill
      return fill(self, (self.scale_factor ~= nil and "scale_factor={scale_factor}" or "size={size}") .. ", mode={mode}")
    end,
  },
})
for name, mode in pairs { UpsamplingNearest2d = "nearest", UpsamplingBilinear2d = "bilinear" } do
  layer.define(M, name .. "(size: any = None, scale_factor: any = None)", {
    base = M.Upsample, doc = "Upsample of pictures, " .. mode .. (mode == "bilinear" and " with aligned corners." or "."),
    example = ("nn.%s{scale_factor = 2}(torch.ones(1, 1, 2, 2)).shape"):format(name), see = "nn.Upsample",
    init = function(self, a)
      M.Upsample.init(self, { size = a.size, scale_factor = a.scale_factor, mode = mode,
        align_corners = mode == "bilinear" and true or nil })
    end,
    forward = M.Upsample.forward,
  })
end

return M
