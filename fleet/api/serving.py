"""
`serve`: a workflow as a Faust app, for `faust -A module worker`.

It returns a real `faust.App`: agents, tables, timers and pages work on it as in Faust's
documentation, beside the workflow.
"""

import warnings
from typing import Any

import faust

from fleet.api.step_group import on_kafka
from fleet.config import settings as configuration
from fleet.config.logs import logging_config
from fleet.config.settings import Settings
from fleet.host import pages
from fleet.host.assignor import Assignor
from fleet.host.compatibility import check_host
from fleet.host.event_topic import EventTopics
from fleet.host.hooks import hook
from fleet.host.host import Host
from fleet.host.transport import OVERRIDING, Transport, check_consumer
from fleet.host.worker import Worker
from fleet.kafka import folders
from fleet.kafka.clients import tls_context
from fleet.records.topics import Topics
from fleet.workflow import workflow as workflows
from fleet.workflow.definition import NoWorkflow
from fleet.workflow.workflow import Workflow

#: Longest time between two heartbeats, in seconds. The broker's answer to one announces a
#: rebalance, so no member holds a rebalance up for longer than this.
HEARTBEAT_SECONDS = 0.5
#: A request to the broker may take this long, in seconds, and not less than a session.
REQUEST_SECONDS = 90.0


class FleetApp(faust.App):
    """A Faust app that carries one step group."""

    host: Host
    #: The names of its topics, and its engine id.
    topics_of_workflow: Topics
    #: The workflow that it serves; `app.workflow.topic(JokeEvent)` is for agents.
    workflow: Workflow
    _locked: folders.LockedFolder | None = None

    @hook
    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self, host=self.host)

    async def on_started(self) -> None:
        """Check that the consumer is ours, before it gets partitions."""
        check_consumer(self)
        await super().on_started()

    @hook
    def _create_directories(self) -> None:
        # Faust makes the folder, but not those above it.
        self.conf.datadir.mkdir(parents=True, exist_ok=True)
        super()._create_directories()
        # Faust names the files of tables by table and partition only: apps and processes that share
        # the folder would open each other's.
        self._locked = folders.lock(self.conf.tabledir / self.conf.id)
        with warnings.catch_warnings():
            # Faust warns of every setting that changes late; nothing has used this one yet.
            warnings.simplefilter("ignore")
            self.conf.tabledir = self._locked.path


def serve(workflow: type[Workflow] | Workflow, *, settings: Settings | None = None) -> FleetApp:
    """Return the app that runs *workflow*'s steps; call it `app` in a module of its own.

    Give an instance if the class takes arguments of its own. Without *settings* it reads FLEET_*
    variables. Raises WorkflowValidationError if the graph has findings, or a file of a resource.
    Only a starting worker connects to the broker.
    """
    is_class = isinstance(workflow, type) and issubclass(workflow, Workflow)
    if not is_class and not isinstance(workflow, Workflow):
        raise NoWorkflow("serve", workflow)
    chosen = settings or configuration.current()
    check_host((*OVERRIDING, FleetApp))
    served = workflow if isinstance(workflow, Workflow) else workflow()
    workflows.check_files(served)
    topics = Topics(chosen.prefix, served.workflow_name, served.group_name)
    app = FleetApp(topics.engine_id, **app_options(chosen))
    app.host = Host()
    app.topics_of_workflow = topics
    engine = on_kafka(served, topics, chosen)
    app.host.engines.add(engine)
    workflows.carry(served, EventTopics(app, engine, workflows.timeout_of(served)))
    app.workflow = served
    pages.add(app)
    return app


def app_options(settings: Settings) -> dict[str, Any]:
    """Return the Faust settings of our workers."""
    return {
        "broker": ";".join(f"kafka://{server}" for server in settings.bootstrap_servers),
        "broker_credentials": _credentials(settings),
        "broker_session_timeout": settings.session_seconds,
        "broker_heartbeat_interval": min(settings.session_seconds / 4, HEARTBEAT_SECONDS),
        "broker_request_timeout": max(REQUEST_SECONDS, settings.session_seconds),
        "broker_commit_interval": 0.5,
        "datadir": str(settings.data_dir / "workers"),
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": settings.instance_id or None,
        "consumer_metadata_max_age_ms": 5_000,
        "stream_wait_empty": False,
        # `agent_topics` creates what is missing, or names it.
        "topic_allow_declare": False,
        "topic_partitions": settings.partitions,
        "topic_disable_leader": True,
        "logging_config": logging_config(settings.log_format),
        # Faust's stand-in for sys.stdout has no file: `subprocess.run(stdout=sys.stdout)` in a step
        # would fail. A step prints to stdout as it is, and log lines go to stderr.
        "worker_redirect_stdouts": False,
        "Worker": Worker,
        "PartitionAssignor": Assignor,
        # Faust would scan the package of the module for agents, and import what it finds there.
        "autodiscover": False,
    }


def _credentials(settings: Settings) -> Any:
    context = tls_context(settings)
    if settings.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.security_username,
            password=settings.security_password.get_secret_value(),
            mechanism=settings.security_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
