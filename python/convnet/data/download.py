"""Data sets from the network: fetched once with pooch, checked against their checksums, kept in its cache."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Files to fetch from a place, with the checksums they must have, ``algorithm:hex``."""

    base_url: str
    files: dict[str, str]


SOURCES = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
    ),
}


def fetch(name: str, cache: Path | None = None) -> Path:
    """The directory with the data set's files, downloaded where they are not there yet.

    Args:
        cache: where to keep them; None for the user's cache directory.

    ValueError where a file has not the checksum it must have; OSError where the network fails.
    """
    import pooch

    source = SOURCES[name]
    fetcher = pooch.create(
        path=(cache or Path(pooch.os_cache("convnet"))) / name,
        base_url=source.base_url,
        registry=source.files,
        retry_if_failed=1,
    )
    pooch.get_logger().setLevel("WARNING")
    paths: list[str] = []
    for file in source.files:
        if file.endswith(".tar.gz"):
            paths += fetcher.fetch(file, processor=pooch.Untar())
        else:
            paths.append(fetcher.fetch(file))
    return Path(paths[0]).parent
