"""Watch what a chest X-ray CNN makes of COVID-19: a disentangling GAN turns pathology up, frame by frame."""

__version__ = "0.1.0"
