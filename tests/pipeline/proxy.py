"""A TCP proxy that can cut a connection as a network does: nothing arrives, and nobody is told."""

import asyncio
import threading


class Proxy:
    """Listens on a port of its own and forwards to another; runs in a thread."""

    def __init__(self, to_port):
        self.to_port = to_port
        self.cut = False
        self.writers = set()
        self.loop = asyncio.new_event_loop()
        self.port = 0
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0)
        )
        self.port = self.server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def _pump(self, reader, writer):
        while data := await reader.read(65536):
            while self.cut:  # what has not arrived is kept by the sender's kernel
                await asyncio.sleep(0.02)
            writer.write(data)
            await writer.drain()

    async def _serve(self, reader, writer):
        far_writer = None
        try:
            while self.cut:
                await asyncio.sleep(0.02)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
            self.writers |= {writer, far_writer}
            pumps = [
                asyncio.ensure_future(self._pump(reader, far_writer)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for each in (writer, far_writer):
                if each is not None:
                    self.writers.discard(each)
                    each.transport.abort()

    def heal(self, reset):
        """Ends the partition; with @reset the connections are found dead, else they go on."""
        self.cut = False
        if reset:
            self.loop.call_soon_threadsafe(
                lambda: [writer.transport.abort() for writer in list(self.writers)]
            )

    def close(self):
        self.cut = False
        self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._end()))
        self.thread.join()
        self.loop.close()

    async def _end(self):
        self.server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.loop.stop()
