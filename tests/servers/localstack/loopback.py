"""Starts LocalStack on 127.0.0.1.

It listens on every interface whatever host its GATEWAY_LISTEN names (localstack/runtime/server/twisted.py leaves the
interface out for IPv4), so the interface is filled in here.
"""

import functools

from localstack.runtime.main import main
from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
main()
