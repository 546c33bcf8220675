"""What the tests of faults share."""

import pytest


@pytest.fixture
def spool(cluster, request):
    """A directory for the spool, of this test alone."""
    directory = f"/ceph/spool-{request.node.name[:40]}"
    cluster.machine.path(directory).mkdir()
    return directory
