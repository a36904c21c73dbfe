"""
Histories of a fleet, simulated: the engine's real code over a simulated Kafka, disk and time.

What is real: everything of `fleet` that runs in a worker below Faust (engine, host, tasks, commits,
loading, Kafka log) and everything of a caller. What is simulated: aiokafka's clients and the broker
behind them (`broker`, `clients`), the consumer group (`group`), Faust's consumer, the disk, clocks
and processes (`worker`, `world`).

A history is made from a seed alone and replays exactly: `python tests/simulation/run.py --seed 7`.
"""
