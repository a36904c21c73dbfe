"""
A fan-out whose branches cost money: `faust -A paying_flow worker`.

Each branch asks the provider at PAYING_URL, which knows by WORKER_NAME which process asks.
"""

import os

import aiohttp

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Order(StartEvent):
    branches: int


class Part(Event):
    number: int


class Paid(Event):
    number: int


class Receipt(StopEvent):
    numbers: list[int]


class OutOfOrder(RuntimeError):
    """Raised when the provider refuses a call."""


class PayingFlow(Workflow, workflow="paying"):
    @step
    async def split(self, ev: Order) -> list[Part]:
        return [Part(number=number) for number in range(ev.branches)]

    @step(num_workers=8)
    async def pay(self, ctx: Context, ev: Part) -> Paid:
        asked = {"number": str(ev.number), "worker": os.environ["WORKER_NAME"]}
        async with (
            aiohttp.ClientSession() as session,
            session.get(os.environ["PAYING_URL"], params=asked) as answer,
        ):
            if answer.status != 200:
                raise OutOfOrder(await answer.text())
            return Paid(number=await answer.json())

    @step
    async def total(self, paid: list[Paid]) -> Receipt:
        return Receipt(numbers=[each.number for each in paid])


app = serve(PayingFlow)
