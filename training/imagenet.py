"""What networks that were trained on ImageNet usually take: torchvision's convention."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By colour, red first, for pixels in 0 to 1."""
