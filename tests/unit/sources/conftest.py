"""An S3 server that the tests of this folder share."""

import boto3
import pytest

from s3_server import s3_server


@pytest.fixture(scope="session")
def s3():
    with s3_server() as proxy:
        yield proxy


@pytest.fixture
def bucket(s3, request):
    """A fresh bucket and a client for it."""
    client = boto3.client("s3")
    name = f"b{abs(hash(request.node.nodeid))}"
    client.create_bucket(Bucket=name)
    s3.requests.clear()
    return client, name
