"""Inboxes that spread over a Redis Cluster. It needs one: REDIS_URL must name a node of it.

REDIS_URL=redis://localhost:7000 python examples/cluster.py
"""

from __future__ import annotations

import asyncio
import os
import sys
from uuid import uuid4

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from tta_agent_coordination import AgentId, AgentMessage, MessageType, RedisMessageCoordinator

AGENTS = [AgentId(type="worker", instance=str(number)) for number in range(6)]
PREFIX = f"example-{uuid4().hex[:8]}"


async def main(url: str) -> None:
    """Send one message to each of six agents and take it back, whichever node it lies on."""
    async with RedisCluster.from_url(url) as cluster:
        nodes: set[str] = set()
        # hash_tags puts type and instance in braces, so that the keys of one inbox share a slot.
        async with RedisMessageCoordinator(cluster, PREFIX, hash_tags=True) as coordinator:
            for agent in AGENTS:
                message = AgentMessage(
                    message_id=f"hello-{agent.instance}",
                    sender=agent,
                    recipient=agent,
                    message_type=MessageType.EVENT,
                )
                (await coordinator.send_message(agent, agent, message)).raise_for_error()
                # What stands in the braces decides the slot, and the slot the node.
                node = cluster.get_node_from_key(f"{PREFIX}:queue:{{{agent}}}")
                nodes.add(node.name if node else "none")
            for agent in AGENTS:
                received = await coordinator.receive(agent)
                if received is None:
                    raise LookupError(f"nothing for {agent}")
                await coordinator.ack(agent, received.token)
        print(f"{len(AGENTS)} inboxes on {len(nodes)} nodes")


if __name__ == "__main__":
    address = os.environ.get("REDIS_URL")
    if address is None:
        print("this example needs a Redis Cluster: set REDIS_URL to one of its nodes")
        sys.exit(0)
    try:
        asyncio.run(main(address))
    except (RedisClusterException, RedisError) as error:
        sys.exit(f"this example needs a Redis Cluster, and {address} is none: {error}")
