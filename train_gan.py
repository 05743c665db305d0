"""Train the disentangling GAN for a target: `python train_gan.py --help`."""

from gan_explain.cli.train.gan import train_gan

if __name__ == "__main__":
    train_gan()
