"""Drives aria2's RPC over a WebSocket, with nothing but the standard library: websocket.py PORT SECRET URL.

URL/quick is a small file, URL/slow one that takes minutes.
"""

import json
import os
import socket
import struct
import sys

port, secret, url = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class WebSocket:
    """A client of RFC 6455."""

    def __init__(self):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.sendall(
            b"GET /jsonrpc HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % port
        )
        self.file = self.sock.makefile("rb")
        status = self.file.readline()
        assert b" 101 " in status, status
        while self.file.readline() != b"\r\n":
            pass
        self.events = []

    def send(self, value):
        data, mask = json.dumps(value).encode(), os.urandom(4)
        if len(data) < 126:
            head = struct.pack(">BB", 0x81, 0x80 | len(data))
        else:
            head = struct.pack(">BBH", 0x81, 0x80 | 126, len(data))
        self.sock.sendall(head + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(data)))

    def receive(self):
        _, length = self.file.read(2)
        if length == 126:
            (length,) = struct.unpack(">H", self.file.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.file.read(8))
        return json.loads(self.file.read(length))

    def answer(self, value):
        """Sends a request and returns the answer to it. Notifications before it are kept."""
        self.send(value)
        while True:
            message = self.receive()
            if "id" in message or isinstance(message, list):
                return message
            self.events.append((message["method"], message["params"][0]["gid"]))

    def call(self, method, *params):
        message = self.answer({"id": method, "jsonrpc": "2.0", "method": "aria2." + method, "params": ["token:" + secret, *params]})
        assert message["id"] == method
        return message.get("result", message.get("error"))

    def wait(self, event, gid):
        """Waits for a notification."""
        while ("aria2.onDownload" + event, gid) not in self.events:
            message = self.receive()
            self.events.append((message["method"], message["params"][0]["gid"]))
        self.events.remove(("aria2.onDownload" + event, gid))


def waiting():
    return [task["gid"] for task in ws.call("tellWaiting", 0, 100, ["gid"])]


ws = WebSocket()
gids = [ws.call("addUri", ["%s/quick%d" % (url, i)], {"pause": "true"}) for i in range(3)]
assert waiting() == gids
assert ws.call("changePosition", gids[2], 0, "POS_SET") == 0
assert ws.call("changePosition", gids[0], 1, "POS_CUR") == 2
assert waiting() == [gids[2], gids[1], gids[0]]

assert ws.call("changeOption", gids[0], {"max-download-limit": "1M", "out": "renamed"}) == "OK"
options = ws.call("getOption", gids[0])
assert (options["max-download-limit"], options["out"]) == ("1048576", "renamed"), options
assert ws.call("unpause", gids[0]) == gids[0]
ws.wait("Start", gids[0])
ws.wait("Complete", gids[0])
status = ws.call("tellStatus", gids[0])
assert status["status"] == "complete" and status["files"][0]["path"].endswith("/renamed"), status

slow = ws.call("addUri", [url + "/slow"], {})
ws.wait("Start", slow)
assert ws.call("pause", slow) == slow
ws.wait("Pause", slow)
assert ws.call("unpause", slow) == slow
ws.wait("Start", slow)
assert ws.call("remove", slow) == slow
ws.wait("Stop", slow)
missing = ws.call("addUri", [url + "/404"])
ws.wait("Error", missing)
assert ws.call("tellStatus", missing, ["errorCode"]) == {"errorCode": "3"}

assert ws.call("remove", gids[1]) == gids[1]
assert waiting() == [gids[2]]
assert ws.call("tellStatus", gids[1]) == {"code": 1, "message": "GID %s is not found" % gids[1]}
assert ws.call("removeDownloadResult", slow) == "OK"
assert [task["status"] for task in ws.call("tellStopped", 0, 9)] == ["complete", "error"]

batch = ws.answer([{"id": i, "method": "aria2.getGlobalStat", "params": ["token:" + secret]} for i in range(2)])
assert [answer["id"] for answer in batch] == [0, 1], batch
many = ws.answer({"id": 9, "method": "system.multicall", "params": [[{"methodName": "aria2.tellStatus", "params": ["token:" + secret, gids[2], ["gid"]]}, {"methodName": "x"}]]})
assert many["result"] == [[{"gid": gids[2]}], {"code": 1, "message": "Unauthorized"}], many
print("ok")
