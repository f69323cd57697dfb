"""Viewers without a browser: they acknowledge every frame as it arrives, or none at all.

    python benchmarks/synthetic_video/viewers.py COUNT URL CAMERA,CAMERA... [--silent]     ORIGIN, COOKIE: environment

Prints a line when all are connected; at SIGTERM one line of JSON: seconds, and the frames that each was sent.
"""

import argparse
import asyncio
import json
import os
import signal
import time

from websockets.asyncio.client import ClientConnection, connect

from dexvla.live.messages import FRAME_HEADER


async def view(socket: ClientConnection, cameras: list[str], *, silent: bool, counts: list[int], place: int) -> None:
    await socket.send(json.dumps({"type": "watch", "cameras": cameras}))
    async for message in socket:
        assert isinstance(message, bytes)
        counts[place] += 1
        if not silent:
            number, _, length = FRAME_HEADER.unpack_from(message)
            name = message[FRAME_HEADER.size : FRAME_HEADER.size + length].decode()
            await socket.send(json.dumps({"type": "ack", "camera": name, "number": number}))


async def run(arguments: argparse.Namespace) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    counts = [0] * arguments.count
    headers = {"Cookie": os.environ["COOKIE"]}
    sockets = [
        await connect(arguments.url, additional_headers=headers, origin=os.environ["ORIGIN"], compression=None)
        for _ in range(arguments.count)
    ]
    views = [
        asyncio.create_task(
            view(socket, arguments.cameras.split(","), silent=arguments.silent, counts=counts, place=place)
        )
        for place, socket in enumerate(sockets)
    ]
    print("connected", flush=True)
    started = time.monotonic()
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait({ending, *views}, return_when=asyncio.FIRST_COMPLETED)
    print(json.dumps({"seconds": time.monotonic() - started, "frames": counts}), flush=True)
    for task in views:
        task.cancel()


parser = argparse.ArgumentParser()
parser.add_argument("count", type=int)
parser.add_argument("url")
parser.add_argument("cameras")
parser.add_argument("--silent", action="store_true")
asyncio.run(run(parser.parse_args()))
