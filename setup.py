"""What pyproject.toml cannot say: the recipes lie beside the package, to be read, and are installed inside it."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["hfseq*"]), "hfseq.recipes"], package_dir={"hfseq.recipes": "recipes"})
