"""A two-level U-Net: down, bottom, up with a skip."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Double(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(2, outputs), nn.SiLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(2, outputs), nn.SiLU(inplace=True),
        )

    def forward(self, x):
        return self.net(x)


class UNet(nn.Module):
    def __init__(self, channels=3, width=8, classes=4):
        super().__init__()
        self.down = Double(channels, width)
        self.bottom = Double(width, 2 * width)
        self.up = Double(3 * width, width)
        self.out = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        a = self.down(pixel_values)
        b = self.bottom(F.avg_pool2d(a, 2))
        b = F.interpolate(b, scale_factor=2.0, mode="nearest")
        return self.out(self.up(torch.cat([a, b], dim=1)))
