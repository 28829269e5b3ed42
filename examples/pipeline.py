"""Three agents in a row; the middle one is killed (`kill -9`) at its work, and nothing is lost or doubled.

pip install '.[embedded]' && python examples/pipeline.py          # no server needed: an editor is lost
REDIS_URL=redis://localhost:6379/0 python examples/pipeline.py    # a real one: the editor's process is killed
"""

import asyncio
import os
import sys

from tta_agent_coordination import AgentId, AgentMessage, AgentWorker, RedisMessageCoordinator
from tta_agent_coordination import ReceivedMessage as Received

READER, EDITOR, PRINTER = AgentId(type="reader"), AgentId(type="editor"), AgentId(type="printer")
TEXTS, URL = ["once", "upon", "a time"], os.environ.get("REDIS_URL")


def open_coordinator() -> RedisMessageCoordinator:
    """Reach REDIS_URL, or a Redis inside this process."""
    if URL:
        return RedisMessageCoordinator.from_url(URL, key_prefix="example")
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - an extra

    return RedisMessageCoordinator(embedded_redis(), key_prefix="example")


def message(sender: AgentId, recipient: AgentId, number: str, text: str) -> AgentMessage:
    """Return a request with a text."""
    who = {"sender": sender, "recipient": recipient, "message_type": "request"}
    what = {"message_id": f"{sender.type}-{number}", "payload": {"number": number, "text": text}}
    return AgentMessage.model_validate(who | what)


async def edit(received: Received) -> list[tuple[AgentId, AgentMessage]]:
    """Return what follows: it is sent in the same atomic step in which this text is acknowledged."""
    text = received.queue_message.message.payload
    if "doomed" in sys.argv:
        print("killed at its work on:", text["text"], flush=True)
        await asyncio.Event().wait()  # for longer than it lives
    return [(PRINTER, message(EDITOR, PRINTER, text["number"], text["text"].upper()))]


async def lose_an_editor(coordinator: RedisMessageCoordinator) -> None:
    """Let an editor take a text, and end it at its work: the text waits until the lease, 1 s, is over."""
    if not URL:
        await coordinator.receive(EDITOR, visibility_timeout=1)
        return
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "doomed", stdout=-1)
    print((await process.stdout.readline()).decode().strip() if process.stdout else "")
    process.kill()  # kill -9
    await process.wait()


async def main() -> None:
    """Send the texts, lose one editor, and let another and the printer finish."""
    printed: list[str] = []
    async with open_coordinator() as coordinator:
        editor = AgentWorker(EDITOR, coordinator, handlers={None: edit}, visibility_timeout=1)
        if "doomed" in sys.argv:
            await editor.run()
            return
        for number, text in enumerate(TEXTS):
            await coordinator.send_message(READER, EDITOR, message(READER, EDITOR, f"{number:03}", text))
        await lose_an_editor(coordinator)

        async def put(received: Received) -> None:
            printed.append(received.queue_message.message.payload["text"])
            if len(printed) == len(TEXTS):
                printer.stop()

        printer = AgentWorker(PRINTER, coordinator, handlers={None: put})
        async with editor:  # a fresh one
            await printer.run()
    print("printed:", *printed)
    assert sorted(printed) == sorted(text.upper() for text in TEXTS)  # noqa: S101 - the point of it


if __name__ == "__main__":
    asyncio.run(main())
