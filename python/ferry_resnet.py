"""torchvision's ResNet (torchvision/models/resnet.py) in plain torch, for any depths, widths and class count.

Only torch is needed, and the names of parameters are torchvision's, so that its checkpoints load as they are.
"""

from torch import nn


class Block(nn.Module):
    """A basic block (two 3x3 convolutions) or a bottleneck (1x1, 3x3 with the stride, 1x1)."""

    def __init__(self, bottleneck, inputs, planes, width, groups, stride):
        super().__init__()
        self.bottleneck = bottleneck
        outputs = planes * (4 if bottleneck else 1)
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)
        else:
            self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(self.relu(y)))
        y += identity
        return self.relu(y)


class ResNet(nn.Module):
    """`architecture`: block, depths, planes, widths, groups, stem_channels, input_channels, num_classes."""

    def __init__(self, architecture):
        super().__init__()
        bottleneck = architecture["block"] == "bottleneck"
        channels = architecture["stem_channels"]
        self.conv1 = nn.Conv2d(architecture["input_channels"], channels, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for stage in range(4):
            blocks = []
            for i in range(architecture["depths"][stage]):
                stride = 2 if i == 0 and stage > 0 else 1
                planes, width = architecture["planes"][stage], architecture["widths"][stage]
                blocks.append(Block(bottleneck, channels, planes, width, architecture["groups"], stride))
                channels = planes * (4 if bottleneck else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, architecture["num_classes"])

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))
