"""The generated street: video for trying the product where there is no footage, with the truth about every pixel.
Imports `infer`."""
