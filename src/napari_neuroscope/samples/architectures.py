"""Networks of the demonstration models, written so that every step is a named module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CellClassifier", "ConvBlock", "ResidualBlock", "UNet"]


class ConvBlock(nn.Sequential):
    """Two times 3x3 convolution, batch norm and ReLU at constant height and width.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels before and after the block.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        # The batch norm brings its own offset, so the convolutions need no bias.
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)


class ResidualBlock(nn.Module):
    """Residual block that halves height and width.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels before and after the block.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        self.shortcut.conv = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.shortcut.norm = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Transform feature maps.

        Parameters
        ----------
        x : Tensor
            Feature maps (N, in_channels, H, W).

        Returns
        -------
        Tensor
            Feature maps (N, out_channels, ceil(H / 2), ceil(W / 2)).
        """
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        result: Tensor = self.relu2(y + self.shortcut(x))
        return result


class UNet(nn.Module):
    """U-Net with four levels and skip connections by concatenation.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    classes : int
        Number of classes, background included.
    width : int
        Channels of the first level; every level below doubles them.
    """

    def __init__(self, in_channels: int = 3, classes: int = 3, width: int = 16) -> None:
        super().__init__()
        self.enc1 = ConvBlock(in_channels, width)
        self.pool1 = nn.MaxPool2d(2)
        self.enc2 = ConvBlock(width, 2 * width)
        self.pool2 = nn.MaxPool2d(2)
        self.enc3 = ConvBlock(2 * width, 4 * width)
        self.pool3 = nn.MaxPool2d(2)
        self.enc4 = ConvBlock(4 * width, 8 * width)
        self.up3 = nn.ConvTranspose2d(8 * width, 4 * width, 2, stride=2)
        self.dec3 = ConvBlock(8 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.dec2 = ConvBlock(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.dec1 = ConvBlock(2 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute class scores for every pixel.

        Parameters
        ----------
        x : Tensor
            Images (N, in_channels, H, W); H and W are multiples of 8.

        Returns
        -------
        Tensor
            Logits (N, classes, H, W).
        """
        level1 = self.enc1(x)
        level2 = self.enc2(self.pool1(level1))
        level3 = self.enc3(self.pool2(level2))
        bottom = self.enc4(self.pool3(level3))
        y = self.dec3(torch.cat([self.up3(bottom), level3], dim=1))
        y = self.dec2(torch.cat([self.up2(y), level2], dim=1))
        y = self.dec1(torch.cat([self.up1(y), level1], dim=1))
        logits: Tensor = self.head(y)
        return logits


class CellClassifier(nn.Module):
    """Residual network that ends in global average pooling and one linear layer.

    The pooled feature maps feed the linear layer directly, which is the structure that class
    activation mapping in its original form asks for. An 80x80 image gives 10x10 feature maps.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    classes : int
        Number of classes.
    width : int
        Channels of the first stage; every later stage doubles them.
    """

    def __init__(self, in_channels: int = 3, classes: int = 3, width: int = 16) -> None:
        super().__init__()
        self.stage1 = ConvBlock(in_channels, width)
        self.stage2 = ResidualBlock(width, 2 * width)
        self.stage3 = ResidualBlock(2 * width, 4 * width)
        self.stage4 = ResidualBlock(4 * width, 8 * width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute class scores for every image.

        Parameters
        ----------
        x : Tensor
            Images (N, in_channels, H, W), trained at 80x80.

        Returns
        -------
        Tensor
            Logits (N, classes).
        """
        y = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        logits: Tensor = self.head(self.flatten(self.pool(y)))
        return logits
