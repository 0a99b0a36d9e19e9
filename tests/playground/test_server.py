"""The server: on this machine only, for its own pages only, and gone after Ctrl-C."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

pytest.importorskip("bokeh")

from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from fastbp import cli
from fastbp.playground import server
from fastbp.playground.server import HOST, _OwnPages

OWN = f"{HOST}:5006"


def answers(**headers):
    """Whether a request with these headers is answered; _ stands for -."""
    given = {name.replace("_", "-"): value for name, value in {"Host": OWN, **headers}.items() if value}
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.0"), headers=HTTPHeaders(given)
    )
    return _OwnPages(5006).match(request) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:5006"},
        {"Origin": f"http://{OWN}"},
        {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
        {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    ],
)
def test_own_pages_are_answered(headers):
    assert answers(**headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:5006"},  # a name that was made to point here
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:80"},
        {"Host": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:5006"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Host": "localhost:5006", "Origin": f"http://{OWN}"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_others_are_refused(headers):
    assert not answers(**headers)


def status(address, path="/", method="GET", **headers):
    """What a running server answers."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=given)
        return connection.getresponse().status
    finally:
        connection.close()


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Version": "13",
}


def test_a_running_server_refuses_them_too(address):
    assert status(address) == 200
    assert status(address, "/static/js/bokeh.min.js") == 200
    for path in ("/", "/ws", "/autoload.js", "/metadata", "/static/js/bokeh.min.js"):
        assert status(address, path, Host="evil.example") == 403
        assert status(address, path, Origin="http://evil.example") == 403
    assert status(address, "/", "POST", Origin="http://evil.example") == 403
    assert status(address, "/ws", **HANDSHAKE, Origin="http://evil.example") == 403
    assert status(address, "/ws", **HANDSHAKE, Origin="http://example.com") == 403


def test_it_listens_on_this_machine_only(address):
    port = urlsplit(address).port
    with socket.socket() as other:
        other.settimeout(5)
        # Another address of the loopback network: a server of all addresses would answer there.
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_pages_take_everything_from_the_server(address):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", "/")
    text = connection.getresponse().read().decode()
    connection.close()
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 2 and all(source.startswith("/static/js/bokeh") for source in sources)


def test_a_link_may_be_wrong_in_any_way(address):
    for query in ("?tab=nothing", "?tab=learning&units=-1&x=%00%ff", "?tab=learning&seed=<script>", "?tab"):
        assert status(address, f"/{query}") == 200


def test_a_taken_port_is_a_clear_error(capsys):
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["playground", "--no-browser", "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err == (
        f"fastbp: error: port {port}: another program listens there; choose another one with --port, or 0 for any\n"
    )


def test_a_closed_page_is_found_by_reading_alone():
    """What a page sent before it was closed is still read; after a ping that finds it closed that fails in Bokeh."""
    loop = server.asyncio.new_event_loop()
    server.asyncio.set_event_loop(loop)
    try:
        made = server.make_server(0)
        assert made._tornado._ping_job is None
        made.unlisten()
    finally:
        server.asyncio.set_event_loop(None)
        loop.close()


def test_the_browser_is_opened(monkeypatch):
    """At the address that is said; the server ends when its loop is stopped."""
    opened, said = [], []
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    monkeypatch.setattr(server, "_load_kernels", lambda: None)

    def say(line):
        said.append(line)
        server.asyncio.get_event_loop().call_later(0.1, server.asyncio.get_event_loop().stop)

    before = signal.getsignal(signal.SIGINT)
    server.serve(0, browser=True, say=say)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(opened) == len(said) == 1 and opened[0] in said[0]


def test_bokeh_is_loaded_by_the_playground_alone():
    code = "import sys, fastbp, fastbp.cli.playground; assert 'bokeh' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
