"""Train the disentangling generator: `python train_gan.py --help`."""

from gan_explain.cli.train.generator import generator

if __name__ == "__main__":
    generator()
