"""Fashion-MNIST: MNIST's format with articles of clothing, in torchvision's layout."""

from __future__ import annotations

from neurokd.data.folder import data_folder
from neurokd.data.labelled import LabelledData
from neurokd.data.mnist import read_mnist
from neurokd.data.published import PublishedSet

# Address and hashes: torchvision/datasets/mnist.py.
_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
FASHION_MNIST = PublishedSet(
    name="fashion-mnist",
    folder="FashionMNIST/raw",
    base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",  # offers no https
    files=_MD5,
    contents=tuple(_MD5),
)


def fashion_mnist(split: str) -> LabelledData:
    """60,000 training and 10,000 test images (1, 28, 28), classes 0 to 9.

    Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.
    """
    return read_mnist(f"fashion-mnist:{split}", data_folder(FASHION_MNIST), split)
